package main

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"inventory/gen/angzarr"
	pb "inventory/gen/examples"
)

// The decisions: a command and a state become events, or a refusal.  Pure: no clock, no network, no storage.
// A refusal is a gRPC status, which reaches the caller unchanged.

var commands = []proto.Message{&pb.CreateProduct{}, &pb.AdjustStock{}, &pb.ReserveStock{}, &pb.ReleaseReservation{}}

// invalid: the command itself is wrong; sending it again cannot help.
func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// refused: the command is fine, but not for this product as it is now.
func refused(format string, args ...any) error {
	return status.Errorf(codes.FailedPrecondition, format, args...)
}

// corrupt: the stored history holds something this program cannot read: a defect, not a wrong command.
func corrupt(defect error) error {
	return status.Errorf(codes.Internal, "History cannot be read: %v", defect)
}

func create(command *pb.CreateProduct, state *pb.InventoryState) ([]proto.Message, error) {
	switch {
	case exists(state):
		return nil, refused("Product already exists")
	case strings.TrimSpace(command.Sku) == "":
		return nil, invalid("SKU is required")
	case strings.TrimSpace(command.Name) == "":
		return nil, invalid("Product name is required")
	}
	return []proto.Message{&pb.ProductCreated{Sku: command.Sku, Name: command.Name}}, nil
}

func adjust(command *pb.AdjustStock, state *pb.InventoryState) ([]proto.Message, error) {
	delta := int64(command.Delta)
	switch {
	case !exists(state):
		return nil, refused("Product does not exist")
	case delta == 0:
		return nil, invalid("Delta must not be zero")
	case strings.TrimSpace(command.Reason) == "":
		return nil, invalid("Reason is required")
	case available(state)+delta < 0:
		return nil, refused("Insufficient stock: have %d, need %d", available(state), -delta)
	}
	return []proto.Message{&pb.StockAdjusted{Delta: command.Delta, NewOnHand: state.OnHand + delta, Reason: command.Reason}}, nil
}

func reserve(command *pb.ReserveStock, state *pb.InventoryState) ([]proto.Message, error) {
	wanted := int64(command.Quantity)
	switch {
	case !exists(state):
		return nil, refused("Product does not exist")
	case strings.TrimSpace(command.OrderId) == "":
		return nil, invalid("Order id is required")
	case wanted <= 0:
		return nil, invalid("Quantity must be positive")
	}
	if _, reserved := state.Reservations[command.OrderId]; reserved {
		return nil, refused("Order %s is already reserved", command.OrderId)
	}
	if wanted > available(state) {
		return nil, refused("Insufficient stock: have %d, need %d", available(state), wanted)
	}
	return []proto.Message{&pb.StockReserved{
		OrderId: command.OrderId, Quantity: command.Quantity, NewAvailable: available(state) - wanted,
	}}, nil
}

func release(command *pb.ReleaseReservation, state *pb.InventoryState) ([]proto.Message, error) {
	switch {
	case !exists(state):
		return nil, refused("Product does not exist")
	case strings.TrimSpace(command.OrderId) == "":
		return nil, invalid("Order id is required")
	}
	quantity, reserved := state.Reservations[command.OrderId]
	if !reserved {
		return nil, refused("Order %s has no reservation", command.OrderId)
	}
	return []proto.Message{&pb.ReservationReleased{
		OrderId: command.OrderId, Quantity: quantity, NewAvailable: available(state) + int64(quantity),
	}}, nil
}

// decide gives the events that follow from a command, in order.
func decide(command proto.Message, state *pb.InventoryState) ([]proto.Message, error) {
	switch command := command.(type) {
	case *pb.CreateProduct:
		return create(command, state)
	case *pb.AdjustStock:
		return adjust(command, state)
	case *pb.ReserveStock:
		return reserve(command, state)
	case *pb.ReleaseReservation:
		return release(command, state)
	}
	return nil, invalid("unknown command: %s", command.ProtoReflect().Descriptor().FullName())
}

// handle answers a command with the new events and the state after them.  The pages carry no numbers: they are given
// them when they are stored.
func handle(request *angzarr.ContextualCommand) (*angzarr.EventBook, error) {
	pages := request.GetCommand().GetPages()
	if len(pages) == 0 {
		return nil, invalid("The command book has no page")
	}
	state, err := rebuild(request.Events)
	if err != nil {
		return nil, corrupt(err)
	}
	answer := &angzarr.EventBook{Cover: request.Command.Cover}
	for _, page := range pages {
		command, err := unpack(page.Command, commands, "command")
		if err != nil {
			return nil, invalid("%v", err)
		}
		events, err := decide(command, state)
		if err != nil {
			return nil, err
		}
		for _, event := range events {
			packed, err := anypb.New(event)
			if err != nil {
				return nil, err
			}
			answer.Pages = append(answer.Pages, &angzarr.EventPage{Event: packed})
			state = apply(state, event)
		}
	}
	answer.SnapshotState, err = anypb.New(state)
	return answer, err
}
