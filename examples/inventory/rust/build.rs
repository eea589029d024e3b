//! Generates the Rust code of the .proto files, and the descriptors that gRPC reflection tells.
//!
//! $ANGZARR_PROTO names the folder that holds angzarr/types.proto when this example was copied out of its repository.

use std::{env, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-env-changed=ANGZARR_PROTO");
    let angzarr = env::var("ANGZARR_PROTO").unwrap_or_else(|_| "../../../proto".to_string());
    let mut config = prost_build::Config::new();
    config.btree_map(["."]); // one order of the entries, so that one state is always the same bytes
    tonic_build::configure()
        .build_client(false)
        .file_descriptor_set_path(PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin"))
        .compile_with_config(
            config,
            &[format!("{angzarr}/angzarr/business.proto"), "../proto/examples/inventory.proto".to_string()],
            &[angzarr, "../proto".to_string()],
        )?;
    Ok(())
}
