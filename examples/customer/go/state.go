package main

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"customer/gen/angzarr"
	pb "customer/gen/examples"
)

// What a customer is now, from what has happened.  Pure: the same book gives the same state.

var events = []proto.Message{&pb.CustomerCreated{}, &pb.LoyaltyPointsAdded{}, &pb.LoyaltyPointsRedeemed{}}
var snapshots = []proto.Message{&pb.CustomerState{}}

func exists(state *pb.CustomerState) bool {
	return state.Name != ""
}

// unpack gives the message in an Any, by its type.  It is an error when the type is not known or the bytes do not fit it.
func unpack(packed *anypb.Any, known []proto.Message, what string) (proto.Message, error) {
	url := packed.GetTypeUrl()
	name := url[strings.LastIndexByte(url, '/')+1:]
	for _, one := range known {
		if string(one.ProtoReflect().Descriptor().FullName()) != name {
			continue
		}
		message := one.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(packed.GetValue(), message); err != nil {
			return nil, fmt.Errorf("%s %s does not decode", what, name)
		}
		return message, nil
	}
	if name == "" {
		name = "no type"
	}
	return nil, fmt.Errorf("unknown %s: %s", what, name)
}

// apply gives the state after one more event.
func apply(state *pb.CustomerState, event proto.Message) *pb.CustomerState {
	after := proto.Clone(state).(*pb.CustomerState)
	switch event := event.(type) {
	case *pb.CustomerCreated:
		after.Name = event.Name
		after.Email = event.Email
	case *pb.LoyaltyPointsAdded:
		after.LoyaltyPoints = event.NewBalance
		after.LifetimePoints += int64(event.Points)
	case *pb.LoyaltyPointsRedeemed:
		after.LoyaltyPoints = event.NewBalance
	}
	return after
}

// rebuild gives the state a book amounts to: its snapshot, when it has one, and every event after that.
func rebuild(book *angzarr.EventBook) (*pb.CustomerState, error) {
	state := &pb.CustomerState{}
	snapshot := book.GetSnapshot()
	if snapshot != nil {
		message, err := unpack(snapshot.State, snapshots, "snapshot")
		if err != nil {
			return nil, err
		}
		state = message.(*pb.CustomerState)
	}
	for _, page := range book.GetPages() {
		if snapshot != nil && page.GetNum() <= snapshot.Sequence {
			continue
		}
		event, err := unpack(page.Event, events, "event")
		if err != nil {
			return nil, err
		}
		state = apply(state, event)
	}
	return state, nil
}
