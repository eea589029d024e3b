//! The generated code, and what it lacks: the name of a message and the way into an `Any` and out of one.

use prost::Message;
use prost_types::Any;

pub mod angzarr {
    tonic::include_proto!("angzarr");
}

pub mod examples {
    tonic::include_proto!("examples");
}

pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("descriptors");

/// The full name of a message, as after the last slash of a type URL.
pub trait Named: Message + Default {
    const NAME: &'static str;
}

macro_rules! named {
    ($($message:ident)*) => {
        $(impl Named for examples::$message {
            const NAME: &'static str = concat!("examples.", stringify!($message));
        })*
    };
}

named! {
    CreateProduct AdjustStock ReserveStock ReleaseReservation
    ProductCreated StockAdjusted StockReserved ReservationReleased
    InventoryState
}

pub fn pack<M: Named>(message: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", M::NAME), value: message.encode_to_vec() }
}

/// The name of the message in an Any.
pub fn name(packed: &Any) -> &str {
    packed.type_url.rsplit('/').next().unwrap_or_default()
}

/// The message in an Any whose name was looked at before; what says what it is meant to be.
pub fn unpack<M: Named>(packed: &Any, what: &str) -> Result<M, String> {
    M::decode(packed.value.as_slice()).map_err(|_| format!("{what} {} does not decode", M::NAME))
}

/// The text for an Any that holds something else.
pub fn unknown(packed: &Any, what: &str) -> String {
    match name(packed) {
        "" => format!("unknown {what}: no type"),
        name => format!("unknown {what}: {name}"),
    }
}
