//! What a product is now, from what has happened.  Pure: the same book gives the same state.

use prost_types::Any;

use crate::proto::angzarr::{event_page::Sequence, EventBook};
use crate::proto::examples::{InventoryState, ProductCreated, ReservationReleased, StockAdjusted, StockReserved};
use crate::proto::{name, pack, unknown, unpack, Named};

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Created(ProductCreated),
    Adjusted(StockAdjusted),
    Reserved(StockReserved),
    Released(ReservationReleased),
}

impl Event {
    pub fn pack(&self) -> Any {
        match self {
            Event::Created(event) => pack(event),
            Event::Adjusted(event) => pack(event),
            Event::Reserved(event) => pack(event),
            Event::Released(event) => pack(event),
        }
    }

    pub fn unpack(packed: &Any) -> Result<Event, String> {
        match name(packed) {
            ProductCreated::NAME => unpack(packed, "event").map(Event::Created),
            StockAdjusted::NAME => unpack(packed, "event").map(Event::Adjusted),
            StockReserved::NAME => unpack(packed, "event").map(Event::Reserved),
            ReservationReleased::NAME => unpack(packed, "event").map(Event::Released),
            _ => Err(unknown(packed, "event")),
        }
    }
}

impl InventoryState {
    pub fn exists(&self) -> bool {
        !self.sku.is_empty()
    }

    /// What can still be reserved.
    pub fn available(&self) -> i64 {
        self.on_hand - self.reserved
    }

    /// The state after one more event.
    #[must_use]
    pub fn apply(&self, event: &Event) -> InventoryState {
        let mut after = self.clone();
        match event {
            Event::Created(event) => {
                after.sku = event.sku.clone();
                after.name = event.name.clone();
            }
            Event::Adjusted(event) => after.on_hand = event.new_on_hand,
            Event::Reserved(event) => {
                after.reservations.insert(event.order_id.clone(), event.quantity);
                after.reserved += i64::from(event.quantity);
            }
            Event::Released(event) => {
                after.reservations.remove(&event.order_id);
                after.reserved -= i64::from(event.quantity);
            }
        }
        after
    }
}

/// The state a book amounts to: its snapshot, when it has one, and every event after that.
pub fn rebuild(book: EventBook) -> Result<InventoryState, String> {
    let mut state = InventoryState::default();
    let mut included = None; // the number of the last event that the snapshot holds
    if let Some(snapshot) = book.snapshot {
        let packed = snapshot.state.unwrap_or_default();
        if name(&packed) != InventoryState::NAME {
            return Err(unknown(&packed, "snapshot"));
        }
        state = unpack(&packed, "snapshot")?;
        included = Some(snapshot.sequence);
    }
    for page in book.pages {
        let number = match page.sequence {
            Some(Sequence::Num(number)) => number,
            Some(Sequence::Force(_)) | None => 0,
        };
        if included.map_or(true, |included| number > included) {
            state = state.apply(&Event::unpack(&page.event.unwrap_or_default())?);
        }
    }
    Ok(state)
}
