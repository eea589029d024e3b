// Customer serves the customer logic over gRPC (angzarr.BusinessLogic), for angzarr to call.
//
//	customer --address 127.0.0.1:50051       or  --address unix:/tmp/customer.sock
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"

	"customer/gen/angzarr"
)

type server struct {
	angzarr.UnimplementedBusinessLogicServer
}

func (server) Handle(_ context.Context, request *angzarr.ContextualCommand) (*angzarr.EventBook, error) {
	return handle(request)
}

func (server) GetDescriptor(context.Context, *angzarr.GetDescriptorRequest) (*angzarr.ComponentDescriptor, error) {
	return &angzarr.ComponentDescriptor{Name: "customer", ComponentType: "aggregate"}, nil
}

// listen opens the address and says which one it is (a port 0 is replaced by the one it got).
func listen(address string) (net.Listener, string, error) {
	if path := strings.TrimPrefix(address, "unix:"); path != address {
		listener, err := net.Listen("unix", path)
		return listener, address, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, "", err
	}
	return listener, listener.Addr().String(), nil
}

// serve runs until it is told to stop, and then finishes the calls under way, for 5 seconds at most.
func serve(stop context.Context, listener net.Listener) error {
	s := grpc.NewServer(grpc.MaxRecvMsgSize(math.MaxInt32)) // a long history is a large message
	angzarr.RegisterBusinessLogicServer(s, server{})
	reflection.Register(s)
	go func() {
		<-stop.Done()
		time.AfterFunc(5*time.Second, s.Stop)
		s.GracefulStop()
	}()
	return s.Serve(listener)
}

func main() {
	fallback := "127.0.0.1:50051"
	if address := os.Getenv("ADDRESS"); address != "" {
		fallback = address
	}
	address := flag.String("address", fallback, "host:port or unix:path; also $ADDRESS")
	flag.Parse()
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	listener, where, err := listen(*address)
	if err != nil {
		fmt.Fprintf(os.Stderr, "cannot listen on %s: %v\n", *address, err)
		os.Exit(1)
	}
	fmt.Printf("customer logic ready on %s\n", where)
	if err := serve(stop, listener); err != nil {
		fmt.Fprintf(os.Stderr, "cannot serve on %s: %v\n", where, err)
		os.Exit(1)
	}
}
