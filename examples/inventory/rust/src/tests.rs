//! The pure part: tables of state, command and outcome.

use prost_types::Any;

use crate::logic::{decide, handle, Command, Refusal};
use crate::proto::angzarr::{event_page::Sequence, CommandBook, CommandPage, ContextualCommand, Cover, EventBook, EventPage, Snapshot};
use crate::proto::examples::{
    AdjustStock, CreateProduct, InventoryState, ProductCreated, ReleaseReservation, ReservationReleased, ReserveStock,
    StockAdjusted, StockReserved,
};
use crate::proto::{pack, Named};
use crate::state::{rebuild, Event};

fn nothing() -> InventoryState {
    InventoryState::default()
}

/// 10 lamps, 4 of them reserved for A.
fn lamps() -> InventoryState {
    InventoryState {
        sku: "L-1".into(),
        name: "Lamp".into(),
        on_hand: 10,
        reserved: 4,
        reservations: [("A".to_string(), 4)].into(),
    }
}

fn create(sku: &str, name: &str) -> Command {
    Command::Create(CreateProduct { sku: sku.into(), name: name.into() })
}

fn adjust(delta: i32, reason: &str) -> Command {
    Command::Adjust(AdjustStock { delta, reason: reason.into() })
}

fn reserve(order: &str, quantity: i32) -> Command {
    Command::Reserve(ReserveStock { order_id: order.into(), quantity })
}

fn release(order: &str) -> Command {
    Command::Release(ReleaseReservation { order_id: order.into() })
}

fn created() -> Event {
    Event::Created(ProductCreated { sku: "L-1".into(), name: "Lamp".into() })
}

fn adjusted(delta: i32, new_on_hand: i64, reason: &str) -> Event {
    Event::Adjusted(StockAdjusted { delta, new_on_hand, reason: reason.into() })
}

fn reserved(order: &str, quantity: i32, new_available: i64) -> Event {
    Event::Reserved(StockReserved { order_id: order.into(), quantity, new_available })
}

fn released(order: &str, quantity: i32, new_available: i64) -> Event {
    Event::Released(ReservationReleased { order_id: order.into(), quantity, new_available })
}

#[test]
fn accepted() {
    let rows = [
        ("create", nothing(), create("L-1", "Lamp"), created()),
        ("more", lamps(), adjust(5, "delivery"), adjusted(5, 15, "delivery")),
        ("less", lamps(), adjust(-1, "broken"), adjusted(-1, 9, "broken")),
        ("all that is free", lamps(), adjust(-6, "sold"), adjusted(-6, 4, "sold")),
        ("reserve", lamps(), reserve("B", 2), reserved("B", 2, 4)),
        ("reserve the rest", lamps(), reserve("B", 6), reserved("B", 6, 0)),
        ("release", lamps(), release("A"), released("A", 4, 10)),
    ];
    for (what, state, command, event) in rows {
        assert_eq!(decide(&command, &state), Ok(vec![event]), "{what}");
    }
}

#[test]
fn refused() {
    let invalid = |text: &str| Refusal::InvalidArgument(text.into());
    let refused = |text: &str| Refusal::FailedPrecondition(text.into());
    let rows = [
        ("no sku", nothing(), create("", "Lamp"), invalid("SKU is required")),
        ("blank sku", nothing(), create(" ", "Lamp"), invalid("SKU is required")),
        ("no name", nothing(), create("L-1", ""), invalid("Product name is required")),
        ("twice", lamps(), create("L-1", "Lamp"), refused("Product already exists")),
        ("adjust nothing", nothing(), adjust(1, "r"), refused("Product does not exist")),
        ("reserve nothing", nothing(), reserve("A", 1), refused("Product does not exist")),
        ("release nothing", nothing(), release("A"), refused("Product does not exist")),
        ("by zero", lamps(), adjust(0, "r"), invalid("Delta must not be zero")),
        ("no reason", lamps(), adjust(1, ""), invalid("Reason is required")),
        ("what is reserved", lamps(), adjust(-7, "r"), refused("Insufficient stock: have 6, need 7")),
        ("the least number", lamps(), adjust(i32::MIN, "r"), refused("Insufficient stock: have 6, need 2147483648")),
        ("no order", lamps(), reserve("", 1), invalid("Order id is required")),
        ("no quantity", lamps(), reserve("B", 0), invalid("Quantity must be positive")),
        ("negative quantity", lamps(), reserve("B", -1), invalid("Quantity must be positive")),
        ("too much", lamps(), reserve("B", 7), refused("Insufficient stock: have 6, need 7")),
        ("the same order", lamps(), reserve("A", 1), refused("Order A is already reserved")),
        ("release no order", lamps(), release(""), invalid("Order id is required")),
        ("release another order", lamps(), release("B"), refused("Order B has no reservation")),
    ];
    for (what, state, command, refusal) in rows {
        assert_eq!(decide(&command, &state), Err(refusal), "{what}");
    }
}

/// A history whose first page has the number first.
fn book(first: u32, events: &[Event]) -> EventBook {
    let page = |(number, event): (u32, &Event)| EventPage {
        sequence: Some(Sequence::Num(number)),
        event: Some(event.pack()),
        ..EventPage::default()
    };
    EventBook { pages: (first..).zip(events).map(page).collect(), ..EventBook::default() }
}

fn with_snapshot<M: Named>(at: u32, state: &M, book: EventBook) -> EventBook {
    EventBook { snapshot: Some(Snapshot { sequence: at, state: Some(pack(state)) }), ..book }
}

#[test]
fn rebuilt() {
    let all = [created(), adjusted(10, 10, "r"), reserved("B", 1, 9), released("B", 1, 10), reserved("A", 4, 6)];
    let before = InventoryState { reserved: 0, reservations: Default::default(), ..lamps() };
    let rows = [
        ("nothing", book(0, &[]), nothing()),
        ("all events", book(0, &all), lamps()),
        ("a snapshot alone", with_snapshot(4, &lamps(), book(0, &[])), lamps()),
        ("a snapshot and events after it", with_snapshot(3, &before, book(4, &all[4..])), lamps()),
        ("events that the snapshot already holds", with_snapshot(4, &lamps(), book(0, &all)), lamps()),
    ];
    for (what, history, want) in rows {
        assert_eq!(rebuild(history), Ok(want), "{what}");
    }
}

#[test]
fn a_history_of_something_else_is_named() {
    let command = CreateProduct::default();
    let mut history = book(0, &[created()]);
    history.pages[0].event = Some(pack(&command));
    assert_eq!(rebuild(history), Err("unknown event: examples.CreateProduct".into()));
    let history = with_snapshot(0, &command, book(0, &[]));
    assert_eq!(rebuild(history), Err("unknown snapshot: examples.CreateProduct".into()));
    let history = EventBook { pages: vec![EventPage::default()], ..EventBook::default() };
    assert_eq!(rebuild(history), Err("unknown event: no type".into()));
}

fn cover() -> Option<Cover> {
    Some(Cover { domain: "inventory".into(), ..Cover::default() })
}

fn request(commands: &[Any]) -> ContextualCommand {
    let page = |command: &Any| CommandPage { command: Some(command.clone()), ..CommandPage::default() };
    let book = CommandBook { cover: cover(), pages: commands.iter().map(page).collect(), ..CommandBook::default() };
    ContextualCommand { command: Some(book), ..ContextualCommand::default() }
}

#[test]
fn the_answer_has_new_pages_without_numbers_and_the_state() {
    let create = pack(&CreateProduct { sku: "L-1".into(), name: "Lamp".into() });
    let adjust = pack(&AdjustStock { delta: 7, reason: "r".into() });
    let page = |event: Event| EventPage { event: Some(event.pack()), ..EventPage::default() };
    let after = InventoryState { sku: "L-1".into(), name: "Lamp".into(), on_hand: 7, ..InventoryState::default() };
    let want = EventBook {
        cover: cover(),
        pages: vec![page(created()), page(adjusted(7, 7, "r"))],
        snapshot_state: Some(pack(&after)),
        ..EventBook::default()
    };
    assert_eq!(handle(request(&[create, adjust])), Ok(want));
}

#[test]
fn a_wrong_book_is_refused() {
    let broken = Any { value: vec![0xff], ..pack(&CreateProduct::default()) };
    let rows = [
        (ContextualCommand::default(), "The command book has no page"),
        (request(&[Any::default()]), "unknown command: no type"),
        (request(&[pack(&ProductCreated::default())]), "unknown command: examples.ProductCreated"),
        (request(&[broken]), "command examples.CreateProduct does not decode"),
    ];
    for (request, text) in rows {
        assert_eq!(handle(request), Err(Refusal::InvalidArgument(text.into())));
    }
    let mut request = request(&[pack(&CreateProduct::default())]);
    request.events = Some(EventBook { pages: vec![EventPage::default()], ..EventBook::default() });
    assert_eq!(handle(request), Err(Refusal::CorruptHistory("unknown event: no type".into())));
}
