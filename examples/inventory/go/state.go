package main

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"inventory/gen/angzarr"
	pb "inventory/gen/examples"
)

// What a product is now, from what has happened.  Pure: the same book gives the same state.

var events = []proto.Message{&pb.ProductCreated{}, &pb.StockAdjusted{}, &pb.StockReserved{}, &pb.ReservationReleased{}}
var snapshots = []proto.Message{&pb.InventoryState{}}

func exists(state *pb.InventoryState) bool {
	return state.Sku != ""
}

// available is what can still be reserved.
func available(state *pb.InventoryState) int64 {
	return state.OnHand - state.Reserved
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
func apply(state *pb.InventoryState, event proto.Message) *pb.InventoryState {
	after := proto.Clone(state).(*pb.InventoryState)
	switch event := event.(type) {
	case *pb.ProductCreated:
		after.Sku = event.Sku
		after.Name = event.Name
	case *pb.StockAdjusted:
		after.OnHand = event.NewOnHand
	case *pb.StockReserved:
		if after.Reservations == nil {
			after.Reservations = map[string]int32{}
		}
		after.Reservations[event.OrderId] = event.Quantity
		after.Reserved += int64(event.Quantity)
	case *pb.ReservationReleased:
		delete(after.Reservations, event.OrderId)
		after.Reserved -= int64(event.Quantity)
	}
	return after
}

// rebuild gives the state a book amounts to: its snapshot, when it has one, and every event after that.
func rebuild(book *angzarr.EventBook) (*pb.InventoryState, error) {
	state := &pb.InventoryState{}
	snapshot := book.GetSnapshot()
	if snapshot != nil {
		message, err := unpack(snapshot.State, snapshots, "snapshot")
		if err != nil {
			return nil, err
		}
		state = message.(*pb.InventoryState)
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
