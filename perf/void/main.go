// A server of CQL's native protocol that keeps nothing: it answers every write at once with VOID
// and every read with the same row, so that what is measured against it is the client.
//
// It is no database and no model of one. It knows the keyspaces and tables that are created on it,
// prepares statements for them with the metadata that Cassandra would send, and that is all. See
// perf/README.md.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("void server: ")
	listen := flag.String("listen", "127.0.0.1:0", "address and port; port 0 takes a free one")
	delay := flag.Duration("delay", 0, "how long each answer is held back, such as 5ms")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	// Whoever started this holds the other end of standard input: it ends with them, however they
	// end.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println(listener.Addr())
	serve(listener, *delay)
}

func serve(listener net.Listener, delay time.Duration) {
	catalog := newCatalog(listener.Addr().(*net.TCPAddr))
	for {
		socket, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			if err := newConnection(socket, catalog, delay).serve(); err != nil {
				log.Print(err)
			}
		}()
	}
}
