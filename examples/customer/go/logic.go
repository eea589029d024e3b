package main

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"customer/gen/angzarr"
	pb "customer/gen/examples"
)

// The decisions: a command and a state become events, or a refusal.  Pure: no clock, no network, no storage.
// A refusal is a gRPC status, which reaches the caller unchanged.

var commands = []proto.Message{&pb.CreateCustomer{}, &pb.AddLoyaltyPoints{}, &pb.RedeemLoyaltyPoints{}}

// invalid: the command itself is wrong; sending it again cannot help.
func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// refused: the command is fine, but not for this customer as it is now.
func refused(format string, args ...any) error {
	return status.Errorf(codes.FailedPrecondition, format, args...)
}

// corrupt: the stored history holds something this program cannot read: a defect, not a wrong command.
func corrupt(defect error) error {
	return status.Errorf(codes.Internal, "History cannot be read: %v", defect)
}

func create(command *pb.CreateCustomer, state *pb.CustomerState) ([]proto.Message, error) {
	switch {
	case exists(state):
		return nil, refused("Customer already exists")
	case strings.TrimSpace(command.Name) == "":
		return nil, invalid("Customer name is required")
	case strings.TrimSpace(command.Email) == "":
		return nil, invalid("Customer email is required")
	}
	return []proto.Message{&pb.CustomerCreated{Name: command.Name, Email: command.Email}}, nil
}

func checkPoints(points int32, state *pb.CustomerState) error {
	switch {
	case !exists(state):
		return refused("Customer does not exist")
	case points <= 0:
		return invalid("Points must be positive")
	}
	return nil
}

func addPoints(command *pb.AddLoyaltyPoints, state *pb.CustomerState) ([]proto.Message, error) {
	if err := checkPoints(command.Points, state); err != nil {
		return nil, err
	}
	return []proto.Message{&pb.LoyaltyPointsAdded{
		Points: command.Points, NewBalance: state.LoyaltyPoints + int64(command.Points), Reason: command.Reason,
	}}, nil
}

func redeemPoints(command *pb.RedeemLoyaltyPoints, state *pb.CustomerState) ([]proto.Message, error) {
	if err := checkPoints(command.Points, state); err != nil {
		return nil, err
	}
	if int64(command.Points) > state.LoyaltyPoints {
		return nil, refused("Insufficient points: have %d, need %d", state.LoyaltyPoints, command.Points)
	}
	return []proto.Message{&pb.LoyaltyPointsRedeemed{
		Points: command.Points, NewBalance: state.LoyaltyPoints - int64(command.Points), RedemptionType: command.RedemptionType,
	}}, nil
}

// decide gives the events that follow from a command, in order.
func decide(command proto.Message, state *pb.CustomerState) ([]proto.Message, error) {
	switch command := command.(type) {
	case *pb.CreateCustomer:
		return create(command, state)
	case *pb.AddLoyaltyPoints:
		return addPoints(command, state)
	case *pb.RedeemLoyaltyPoints:
		return redeemPoints(command, state)
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
