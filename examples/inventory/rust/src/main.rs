//! Serves the inventory logic over gRPC (angzarr.BusinessLogic), for angzarr to call.
//!
//!     inventory --address 127.0.0.1:50051       or  --address unix:/tmp/inventory.sock

mod logic;
mod proto;
mod state;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::oneshot;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use logic::Refusal;
use proto::angzarr::business_logic_server::{BusinessLogic, BusinessLogicServer};
use proto::angzarr::{ComponentDescriptor, ContextualCommand, EventBook, GetDescriptorRequest};

struct Inventory;

/// A refusal reaches the caller as it is.
impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        match refusal {
            Refusal::InvalidArgument(text) => Status::invalid_argument(text),
            Refusal::FailedPrecondition(text) => Status::failed_precondition(text),
            Refusal::CorruptHistory(defect) => Status::internal(format!("History cannot be read: {defect}")),
        }
    }
}

#[tonic::async_trait]
impl BusinessLogic for Inventory {
    async fn handle(&self, request: Request<ContextualCommand>) -> Result<Response<EventBook>, Status> {
        Ok(Response::new(logic::handle(request.into_inner())?))
    }

    async fn get_descriptor(&self, _: Request<GetDescriptorRequest>) -> Result<Response<ComponentDescriptor>, Status> {
        let component = ComponentDescriptor { name: "inventory".into(), component_type: "aggregate".into(), inputs: vec![] };
        Ok(Response::new(component))
    }
}

/// Serves until told to stop, and then finishes the calls under way.  An address unix:PATH is a socket in the file system;
/// a port 0 is replaced by the one it got.
async fn serve(address: &str, stop: oneshot::Receiver<()>) -> Result<(), Box<dyn Error>> {
    let logic = BusinessLogicServer::new(Inventory).max_decoding_message_size(usize::MAX); // a long history is a large message
    let reflection =
        tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(proto::DESCRIPTORS).build()?;
    let router = Server::builder().add_service(logic).add_service(reflection);
    let stopped = async {
        let _ = stop.await;
    };
    let cannot = |error| format!("cannot listen on {address}: {error}");
    match address.strip_prefix("unix:") {
        Some(path) => {
            let listener = UnixListener::bind(path).map_err(cannot)?;
            println!("inventory logic ready on {address}");
            let served = router.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stopped).await;
            let _ = std::fs::remove_file(path);
            served?;
        }
        None => {
            let listener = TcpListener::bind(address).await.map_err(cannot)?;
            println!("inventory logic ready on {}", listener.local_addr()?);
            router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped).await?;
        }
    }
    Ok(())
}

/// --address ADDRESS, else $ADDRESS, else a default.
fn address() -> Result<String, String> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, _, _) => Ok(std::env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:50051".into())),
        (Some("--address"), Some(address), None) => Ok(address),
        _ => Err("usage: inventory [--address HOST:PORT | --address unix:PATH]; also $ADDRESS".into()),
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let address = address()?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (stop, stopped) = oneshot::channel();
    let mut serving = Box::pin(serve(&address, stopped));
    tokio::select! {
        ended = &mut serving => return ended,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = stop.send(());
    // A call or a stream that does not end is not waited for.
    tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap_or(Ok(()))
}

#[tokio::main]
async fn main() {
    if let Err(error) = run().await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
