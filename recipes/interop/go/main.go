// Runs the operations on standard input with client-go, and prints the result of each.
//
//	interop PD PREFIX < operations
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pingcap/log"
	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
	"github.com/tikv/client-go/v2/txnkv"
	"go.uber.org/zap"
)

// The bound of an operation: a client that gets no answer retries forever.
const limit = 60 * time.Second

type operation func(ctx context.Context, s *session, args []string) (string, error)

type session struct {
	raw, atomic  *rawkv.Client
	txn          *txnkv.Client
	transactions map[string]*transaction
	rawPrefix    string
	txnPrefix    string
}

func main() {
	log.ReplaceGlobals(zap.NewNop(), nil)
	if len(os.Args) != 3 {
		fail(errors.New("expected two arguments, PD and PREFIX"))
	}
	s, err := connect(os.Args[1], os.Args[2])
	if err != nil {
		fail(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Printf("%s => %s\n", lines.Text(), run(s, strings.Fields(lines.Text())))
	}
	if err := lines.Err(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "interop go:", err)
	os.Exit(1)
}

func connect(pd, prefix string) (*session, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	raw, err := rawkv.NewClient(ctx, []string{pd}, config.Security{})
	if err != nil {
		return nil, err
	}
	atomic, err := rawkv.NewClient(ctx, []string{pd}, config.Security{})
	if err != nil {
		return nil, err
	}
	txn, err := txnkv.NewClient([]string{pd})
	if err != nil {
		return nil, err
	}
	return &session{
		raw: raw, atomic: atomic.SetAtomicForCAS(true), txn: txn,
		transactions: map[string]*transaction{},
		rawPrefix:    prefix + "/r/", txnPrefix: prefix + "/t/",
	}, nil
}

func run(s *session, words []string) string {
	if len(words) == 0 {
		return "error: expected an operation, found an empty line"
	}
	do, known := operations[words[0]]
	if !known {
		return "error: unknown operation"
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	result, err := do(ctx, s, words[1:])
	if err != nil {
		return "error: " + describe(err)
	}
	return result
}

var operations = map[string]operation{
	"raw_put":          rawPut,
	"raw_get":          rawGet,
	"raw_delete":       rawDelete,
	"raw_batch_put":    rawBatchPut,
	"raw_batch_get":    rawBatchGet,
	"raw_batch_delete": rawBatchDelete,
	"raw_scan":         rawScan,
	"raw_reverse_scan": rawReverseScan,
	"raw_delete_range": rawDeleteRange,
	"raw_cas":          rawCas,
	"begin":            begin,
	"snapshot":         snapshot,
	"get":              get,
	"get_for_update":   getForUpdate,
	"batch_get":        batchGet,
	"scan":             scan,
	"set":              set,
	"delete":           remove,
	"lock":             lock,
	"commit":           commit,
	"rollback":         rollback,
	"mode":             mode,
}
