package main

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"inventory/gen/angzarr"
	pb "inventory/gen/examples"
)

// Tables of state, command and outcome.

// 10 lamps, 4 of them reserved for A.
func lamps() *pb.InventoryState {
	return &pb.InventoryState{Sku: "L-1", Name: "Lamp", OnHand: 10, Reserved: 4, Reservations: map[string]int32{"A": 4}}
}

var nothing = &pb.InventoryState{}
var createLamp = &pb.CreateProduct{Sku: "L-1", Name: "Lamp"}

func TestAccepted(t *testing.T) {
	for _, row := range []struct {
		what    string
		state   *pb.InventoryState
		command proto.Message
		event   proto.Message
	}{
		{"create", nothing, createLamp, &pb.ProductCreated{Sku: "L-1", Name: "Lamp"}},
		{"more", lamps(), &pb.AdjustStock{Delta: 5, Reason: "delivery"},
			&pb.StockAdjusted{Delta: 5, NewOnHand: 15, Reason: "delivery"}},
		{"less", lamps(), &pb.AdjustStock{Delta: -1, Reason: "broken"},
			&pb.StockAdjusted{Delta: -1, NewOnHand: 9, Reason: "broken"}},
		{"all that is free", lamps(), &pb.AdjustStock{Delta: -6, Reason: "sold"},
			&pb.StockAdjusted{Delta: -6, NewOnHand: 4, Reason: "sold"}},
		{"reserve", lamps(), &pb.ReserveStock{OrderId: "B", Quantity: 2},
			&pb.StockReserved{OrderId: "B", Quantity: 2, NewAvailable: 4}},
		{"reserve the rest", lamps(), &pb.ReserveStock{OrderId: "B", Quantity: 6}, &pb.StockReserved{OrderId: "B", Quantity: 6}},
		{"release", lamps(), &pb.ReleaseReservation{OrderId: "A"},
			&pb.ReservationReleased{OrderId: "A", Quantity: 4, NewAvailable: 10}},
	} {
		t.Run(row.what, func(t *testing.T) {
			events, err := decide(row.command, row.state)
			if err != nil {
				t.Fatal(err)
			}
			if len(events) != 1 || !proto.Equal(events[0], row.event) {
				t.Fatalf("got %v, want %v", events, row.event)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for _, row := range []struct {
		what    string
		state   *pb.InventoryState
		command proto.Message
		code    codes.Code
		text    string
	}{
		{"no sku", nothing, &pb.CreateProduct{Name: "Lamp"}, codes.InvalidArgument, "SKU is required"},
		{"blank sku", nothing, &pb.CreateProduct{Sku: " ", Name: "Lamp"}, codes.InvalidArgument, "SKU is required"},
		{"no name", nothing, &pb.CreateProduct{Sku: "L-1"}, codes.InvalidArgument, "Product name is required"},
		{"twice", lamps(), createLamp, codes.FailedPrecondition, "Product already exists"},
		{"adjust nothing", nothing, &pb.AdjustStock{Delta: 1, Reason: "r"}, codes.FailedPrecondition,
			"Product does not exist"},
		{"reserve nothing", nothing, &pb.ReserveStock{OrderId: "A", Quantity: 1}, codes.FailedPrecondition,
			"Product does not exist"},
		{"release nothing", nothing, &pb.ReleaseReservation{OrderId: "A"}, codes.FailedPrecondition,
			"Product does not exist"},
		{"by zero", lamps(), &pb.AdjustStock{Reason: "r"}, codes.InvalidArgument, "Delta must not be zero"},
		{"no reason", lamps(), &pb.AdjustStock{Delta: 1}, codes.InvalidArgument, "Reason is required"},
		{"what is reserved", lamps(), &pb.AdjustStock{Delta: -7, Reason: "r"}, codes.FailedPrecondition,
			"Insufficient stock: have 6, need 7"},
		{"the least number", lamps(), &pb.AdjustStock{Delta: math.MinInt32, Reason: "r"}, codes.FailedPrecondition,
			"Insufficient stock: have 6, need 2147483648"},
		{"no order", lamps(), &pb.ReserveStock{Quantity: 1}, codes.InvalidArgument, "Order id is required"},
		{"no quantity", lamps(), &pb.ReserveStock{OrderId: "B"}, codes.InvalidArgument, "Quantity must be positive"},
		{"negative quantity", lamps(), &pb.ReserveStock{OrderId: "B", Quantity: -1}, codes.InvalidArgument,
			"Quantity must be positive"},
		{"too much", lamps(), &pb.ReserveStock{OrderId: "B", Quantity: 7}, codes.FailedPrecondition,
			"Insufficient stock: have 6, need 7"},
		{"the same order", lamps(), &pb.ReserveStock{OrderId: "A", Quantity: 1}, codes.FailedPrecondition,
			"Order A is already reserved"},
		{"release no order", lamps(), &pb.ReleaseReservation{}, codes.InvalidArgument, "Order id is required"},
		{"release another order", lamps(), &pb.ReleaseReservation{OrderId: "B"}, codes.FailedPrecondition,
			"Order B has no reservation"},
	} {
		t.Run(row.what, func(t *testing.T) {
			events, err := decide(row.command, row.state)
			if err == nil {
				t.Fatalf("accepted: %v", events)
			}
			wantStatus(t, err, row.code, row.text)
		})
	}
}

func wantStatus(t *testing.T, err error, code codes.Code, text string) {
	t.Helper()
	if got := status.Convert(err); got.Code() != code || got.Message() != text {
		t.Fatalf("got %v: %q, want %v: %q", got.Code(), got.Message(), code, text)
	}
}

func pack(t *testing.T, message proto.Message) *anypb.Any {
	t.Helper()
	packed, err := anypb.New(message)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// book is a history whose first page has the number first.
func book(t *testing.T, first uint32, events ...proto.Message) *angzarr.EventBook {
	t.Helper()
	made := &angzarr.EventBook{}
	for i, event := range events {
		number := &angzarr.EventPage_Num{Num: first + uint32(i)}
		made.Pages = append(made.Pages, &angzarr.EventPage{Sequence: number, Event: pack(t, event)})
	}
	return made
}

func withSnapshot(t *testing.T, made *angzarr.EventBook, at uint32, state proto.Message) *angzarr.EventBook {
	t.Helper()
	made.Snapshot = &angzarr.Snapshot{Sequence: at, State: pack(t, state)}
	return made
}

var (
	created  = &pb.ProductCreated{Sku: "L-1", Name: "Lamp"}
	adjusted = &pb.StockAdjusted{Delta: 10, NewOnHand: 10, Reason: "r"}
	forB     = &pb.StockReserved{OrderId: "B", Quantity: 1, NewAvailable: 9}
	released = &pb.ReservationReleased{OrderId: "B", Quantity: 1, NewAvailable: 10}
	forA     = &pb.StockReserved{OrderId: "A", Quantity: 4, NewAvailable: 6}
	before   = &pb.InventoryState{Sku: "L-1", Name: "Lamp", OnHand: 10}
)

func TestRebuild(t *testing.T) {
	for _, row := range []struct {
		what    string
		history *angzarr.EventBook
		want    *pb.InventoryState
	}{
		{"no book", nil, nothing},
		{"nothing", book(t, 0), nothing},
		{"all events", book(t, 0, created, adjusted, forB, released, forA), lamps()},
		{"a snapshot alone", withSnapshot(t, book(t, 0), 4, lamps()), lamps()},
		{"a snapshot and events after it", withSnapshot(t, book(t, 4, forA), 3, before), lamps()},
		{"events that the snapshot already holds",
			withSnapshot(t, book(t, 0, created, adjusted, forB, released, forA), 4, lamps()), lamps()},
	} {
		t.Run(row.what, func(t *testing.T) {
			state, err := rebuild(row.history)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(state, row.want) {
				t.Fatalf("got %v, want %v", state, row.want)
			}
		})
	}
}

func TestAHistoryOfSomethingElseIsNamed(t *testing.T) {
	for _, history := range []*angzarr.EventBook{book(t, 0, createLamp), withSnapshot(t, book(t, 0), 0, created)} {
		_, err := rebuild(history)
		if err == nil || !strings.HasPrefix(err.Error(), "unknown ") || !strings.Contains(err.Error(), ": examples.") {
			t.Fatalf("got %v", err)
		}
	}
}

func request(t *testing.T, commands ...proto.Message) *angzarr.ContextualCommand {
	t.Helper()
	made := &angzarr.CommandBook{Cover: &angzarr.Cover{Domain: "inventory"}}
	for _, command := range commands {
		made.Pages = append(made.Pages, &angzarr.CommandPage{Command: pack(t, command)})
	}
	return &angzarr.ContextualCommand{Command: made}
}

func TestTheAnswerHasNewPagesWithoutNumbersAndTheState(t *testing.T) {
	answer, err := handle(request(t, createLamp, &pb.AdjustStock{Delta: 7, Reason: "r"}))
	if err != nil {
		t.Fatal(err)
	}
	want := &angzarr.EventBook{
		Cover: &angzarr.Cover{Domain: "inventory"},
		Pages: []*angzarr.EventPage{
			{Event: pack(t, created)},
			{Event: pack(t, &pb.StockAdjusted{Delta: 7, NewOnHand: 7, Reason: "r"})},
		},
		SnapshotState: pack(t, &pb.InventoryState{Sku: "L-1", Name: "Lamp", OnHand: 7}),
	}
	if !proto.Equal(answer, want) {
		t.Fatalf("got %v, want %v", answer, want)
	}
}

func TestAWrongBookIsRefused(t *testing.T) {
	broken := request(t, createLamp)
	broken.Command.Pages[0].Command.Value = []byte{0xff}
	for _, row := range []struct {
		request *angzarr.ContextualCommand
		text    string
	}{
		{&angzarr.ContextualCommand{}, "The command book has no page"},
		{request(t, created), "unknown command: examples.ProductCreated"},
		{broken, "command examples.CreateProduct does not decode"},
	} {
		_, err := handle(row.request)
		wantStatus(t, err, codes.InvalidArgument, row.text)
	}
}
