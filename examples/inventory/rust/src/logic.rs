//! The decisions: a command and a state become events, or a refusal.  Pure: no clock, no network, no storage.

use prost_types::Any;

use crate::proto::angzarr::{ContextualCommand, EventBook, EventPage};
use crate::proto::examples::{
    AdjustStock, CreateProduct, InventoryState, ProductCreated, ReleaseReservation, ReservationReleased, ReserveStock,
    StockAdjusted, StockReserved,
};
use crate::proto::{name, pack, unknown, unpack, Named};
use crate::state::{rebuild, Event};

#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// The command itself is wrong; sending it again cannot help.
    InvalidArgument(String),
    /// The command is fine, but not for this product as it is now.
    FailedPrecondition(String),
    /// The stored history holds something this program cannot read: a defect, not a wrong command.
    CorruptHistory(String),
}

type Decision = Result<Vec<Event>, Refusal>;

fn invalid<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::InvalidArgument(text.into()))
}

fn refused<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::FailedPrecondition(text.into()))
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Create(CreateProduct),
    Adjust(AdjustStock),
    Reserve(ReserveStock),
    Release(ReleaseReservation),
}

impl Command {
    pub fn unpack(packed: &Any) -> Result<Command, String> {
        match name(packed) {
            CreateProduct::NAME => unpack(packed, "command").map(Command::Create),
            AdjustStock::NAME => unpack(packed, "command").map(Command::Adjust),
            ReserveStock::NAME => unpack(packed, "command").map(Command::Reserve),
            ReleaseReservation::NAME => unpack(packed, "command").map(Command::Release),
            _ => Err(unknown(packed, "command")),
        }
    }
}

fn create(command: &CreateProduct, state: &InventoryState) -> Decision {
    if state.exists() {
        return refused("Product already exists");
    }
    if command.sku.trim().is_empty() {
        return invalid("SKU is required");
    }
    if command.name.trim().is_empty() {
        return invalid("Product name is required");
    }
    Ok(vec![Event::Created(ProductCreated { sku: command.sku.clone(), name: command.name.clone() })])
}

fn adjust(command: &AdjustStock, state: &InventoryState) -> Decision {
    if command.delta == 0 {
        return invalid("Delta must not be zero");
    }
    if command.reason.trim().is_empty() {
        return invalid("Reason is required");
    }
    let delta = i64::from(command.delta);
    if state.available() + delta < 0 {
        return refused(format!("Insufficient stock: have {}, need {}", state.available(), -delta));
    }
    Ok(vec![Event::Adjusted(StockAdjusted {
        delta: command.delta,
        new_on_hand: state.on_hand + delta,
        reason: command.reason.clone(),
    })])
}

fn reserve(command: &ReserveStock, state: &InventoryState) -> Decision {
    let (order, wanted) = (&command.order_id, i64::from(command.quantity));
    if order.trim().is_empty() {
        return invalid("Order id is required");
    }
    if wanted <= 0 {
        return invalid("Quantity must be positive");
    }
    if state.reservations.contains_key(order) {
        return refused(format!("Order {order} is already reserved"));
    }
    if wanted > state.available() {
        return refused(format!("Insufficient stock: have {}, need {wanted}", state.available()));
    }
    Ok(vec![Event::Reserved(StockReserved {
        order_id: order.clone(),
        quantity: command.quantity,
        new_available: state.available() - wanted,
    })])
}

fn release(command: &ReleaseReservation, state: &InventoryState) -> Decision {
    let order = &command.order_id;
    if order.trim().is_empty() {
        return invalid("Order id is required");
    }
    match state.reservations.get(order) {
        None => refused(format!("Order {order} has no reservation")),
        Some(&quantity) => Ok(vec![Event::Released(ReservationReleased {
            order_id: order.clone(),
            quantity,
            new_available: state.available() + i64::from(quantity),
        })]),
    }
}

/// The events that follow from a command, in order.
pub fn decide(command: &Command, state: &InventoryState) -> Decision {
    match command {
        Command::Create(command) => create(command, state),
        _ if !state.exists() => refused("Product does not exist"),
        Command::Adjust(command) => adjust(command, state),
        Command::Reserve(command) => reserve(command, state),
        Command::Release(command) => release(command, state),
    }
}

/// Answers a command with the new events and the state after them.  The pages carry no numbers: they are given them when
/// they are stored.
pub fn handle(request: ContextualCommand) -> Result<EventBook, Refusal> {
    let book = request.command.unwrap_or_default();
    if book.pages.is_empty() {
        return invalid("The command book has no page");
    }
    let mut state = rebuild(request.events.unwrap_or_default()).map_err(Refusal::CorruptHistory)?;
    let mut answer = EventBook { cover: book.cover, ..EventBook::default() };
    for page in book.pages {
        let command = Command::unpack(&page.command.unwrap_or_default()).map_err(Refusal::InvalidArgument)?;
        for event in decide(&command, &state)? {
            state = state.apply(&event);
            answer.pages.push(EventPage { event: Some(event.pack()), ..EventPage::default() });
        }
    }
    answer.snapshot_state = Some(pack(&state));
    Ok(answer)
}
