package main

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"customer/gen/angzarr"
	pb "customer/gen/examples"
)

// Tables of state, command and outcome.

func ada() *pb.CustomerState {
	return &pb.CustomerState{Name: "Ada", Email: "a@x", LoyaltyPoints: 100, LifetimePoints: 150}
}

var nobody = &pb.CustomerState{}
var createAda = &pb.CreateCustomer{Name: "Ada", Email: "a@x"}

func TestAccepted(t *testing.T) {
	for _, row := range []struct {
		what    string
		state   *pb.CustomerState
		command proto.Message
		event   proto.Message
	}{
		{"create", nobody, createAda, &pb.CustomerCreated{Name: "Ada", Email: "a@x"}},
		{"add", ada(), &pb.AddLoyaltyPoints{Points: 5, Reason: "r"}, &pb.LoyaltyPointsAdded{Points: 5, NewBalance: 105, Reason: "r"}},
		{"redeem", ada(), &pb.RedeemLoyaltyPoints{Points: 30, RedemptionType: "t"},
			&pb.LoyaltyPointsRedeemed{Points: 30, NewBalance: 70, RedemptionType: "t"}},
		{"redeem all", ada(), &pb.RedeemLoyaltyPoints{Points: 100}, &pb.LoyaltyPointsRedeemed{Points: 100}},
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
		state   *pb.CustomerState
		command proto.Message
		code    codes.Code
		text    string
	}{
		{"no name", nobody, &pb.CreateCustomer{Email: "a@x"}, codes.InvalidArgument, "Customer name is required"},
		{"blank name", nobody, &pb.CreateCustomer{Name: " ", Email: "a@x"}, codes.InvalidArgument, "Customer name is required"},
		{"no email", nobody, &pb.CreateCustomer{Name: "Ada"}, codes.InvalidArgument, "Customer email is required"},
		{"twice", ada(), createAda, codes.FailedPrecondition, "Customer already exists"},
		{"add to nobody", nobody, &pb.AddLoyaltyPoints{Points: 1}, codes.FailedPrecondition, "Customer does not exist"},
		{"redeem from nobody", nobody, &pb.RedeemLoyaltyPoints{Points: 1}, codes.FailedPrecondition, "Customer does not exist"},
		{"add nothing", ada(), &pb.AddLoyaltyPoints{}, codes.InvalidArgument, "Points must be positive"},
		{"add less than nothing", ada(), &pb.AddLoyaltyPoints{Points: -1}, codes.InvalidArgument, "Points must be positive"},
		{"redeem nothing", ada(), &pb.RedeemLoyaltyPoints{}, codes.InvalidArgument, "Points must be positive"},
		{"redeem too much", ada(), &pb.RedeemLoyaltyPoints{Points: 101}, codes.FailedPrecondition,
			"Insufficient points: have 100, need 101"},
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
	created  = &pb.CustomerCreated{Name: "Ada", Email: "a@x"}
	added    = &pb.LoyaltyPointsAdded{Points: 150, NewBalance: 150}
	redeemed = &pb.LoyaltyPointsRedeemed{Points: 50, NewBalance: 100}
	before   = &pb.CustomerState{Name: "Ada", Email: "a@x", LoyaltyPoints: 150, LifetimePoints: 150}
)

func TestRebuild(t *testing.T) {
	for _, row := range []struct {
		what    string
		history *angzarr.EventBook
		want    *pb.CustomerState
	}{
		{"no book", nil, nobody},
		{"nothing", book(t, 0), nobody},
		{"all events", book(t, 0, created, added, redeemed), ada()},
		{"a snapshot alone", withSnapshot(t, book(t, 0), 2, ada()), ada()},
		{"a snapshot and events after it", withSnapshot(t, book(t, 2, redeemed), 1, before), ada()},
		{"events that the snapshot already holds", withSnapshot(t, book(t, 0, created, added, redeemed), 2, ada()), ada()},
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
	for _, history := range []*angzarr.EventBook{book(t, 0, createAda), withSnapshot(t, book(t, 0), 0, created)} {
		_, err := rebuild(history)
		if err == nil || !strings.HasPrefix(err.Error(), "unknown ") || !strings.Contains(err.Error(), ": examples.C") {
			t.Fatalf("got %v", err)
		}
	}
}

func request(t *testing.T, commands ...proto.Message) *angzarr.ContextualCommand {
	t.Helper()
	made := &angzarr.CommandBook{Cover: &angzarr.Cover{Domain: "customer"}}
	for _, command := range commands {
		made.Pages = append(made.Pages, &angzarr.CommandPage{Command: pack(t, command)})
	}
	return &angzarr.ContextualCommand{Command: made}
}

func TestTheAnswerHasNewPagesWithoutNumbersAndTheState(t *testing.T) {
	answer, err := handle(request(t, createAda, &pb.AddLoyaltyPoints{Points: 7}))
	if err != nil {
		t.Fatal(err)
	}
	want := &angzarr.EventBook{
		Cover: &angzarr.Cover{Domain: "customer"},
		Pages: []*angzarr.EventPage{
			{Event: pack(t, created)},
			{Event: pack(t, &pb.LoyaltyPointsAdded{Points: 7, NewBalance: 7})},
		},
		SnapshotState: pack(t, &pb.CustomerState{Name: "Ada", Email: "a@x", LoyaltyPoints: 7, LifetimePoints: 7}),
	}
	if !proto.Equal(answer, want) {
		t.Fatalf("got %v, want %v", answer, want)
	}
}

func TestAWrongBookIsRefused(t *testing.T) {
	broken := request(t, createAda)
	broken.Command.Pages[0].Command.Value = []byte{0xff}
	for _, row := range []struct {
		request *angzarr.ContextualCommand
		text    string
	}{
		{&angzarr.ContextualCommand{}, "The command book has no page"},
		{request(t, created), "unknown command: examples.CustomerCreated"},
		{broken, "command examples.CreateCustomer does not decode"},
	} {
		_, err := handle(row.request)
		wantStatus(t, err, codes.InvalidArgument, row.text)
	}
}
