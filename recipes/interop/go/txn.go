package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	tikverr "github.com/tikv/client-go/v2/error"
	"github.com/tikv/client-go/v2/kv"
	txn "github.com/tikv/client-go/v2/txnkv/transaction"
	"github.com/tikv/client-go/v2/txnkv/txnsnapshot"
)

// A transaction, or only a snapshot.
type transaction struct {
	*txn.KVTxn
	snapshot *txnsnapshot.KVSnapshot
	// "2pc", "async_commit" or "1pc" after the commit.
	mode string
}

func find(s *session, name string) (*transaction, error) {
	if t, found := s.transactions[name]; found {
		return t, nil
	}
	return nil, fmt.Errorf("no transaction %s", name)
}

func begin(_ context.Context, s *session, args []string) (string, error) {
	started, err := s.txn.Begin()
	if err != nil {
		return "", err
	}
	t := &transaction{KVTxn: started}
	switch args[1] {
	case "optimistic":
	case "pessimistic":
		started.SetPessimistic(true)
	case "async_commit":
		started.SetEnableAsyncCommit(true)
	case "one_pc":
		started.SetEnable1PC(true)
	default:
		return "", fmt.Errorf("unknown kind of transaction %s", args[1])
	}
	started.SetCommitCallback(func(info string, _ error) {
		var decoded txn.TxnInfo
		if json.Unmarshal([]byte(info), &decoded) == nil {
			t.mode = decoded.TxnCommitMode
		}
	})
	s.transactions[args[0]] = t
	return "ok", nil
}

func snapshot(ctx context.Context, s *session, args []string) (string, error) {
	ts, err := s.txn.GetTimestamp(ctx)
	if err != nil {
		return "", err
	}
	s.transactions[args[0]] = &transaction{snapshot: s.txn.GetSnapshot(ts)}
	return "ok", nil
}

func get(ctx context.Context, s *session, args []string) (string, error) {
	t, err := find(s, args[0])
	if err != nil {
		return "", err
	}
	var value []byte
	if t.KVTxn != nil {
		value, err = t.Get(ctx, key(s.txnPrefix, args[1]))
	} else {
		value, err = t.snapshot.Get(ctx, key(s.txnPrefix, args[1]))
	}
	if tikverr.IsErrNotFound(err) {
		return "none", nil
	}
	return show(value), err
}

func batchGet(ctx context.Context, s *session, args []string) (string, error) {
	t, err := find(s, args[0])
	if err != nil {
		return "", err
	}
	var values map[string][]byte
	if t.KVTxn != nil {
		values, err = t.BatchGet(ctx, keys(s.txnPrefix, args[1:]))
	} else {
		values, err = t.snapshot.BatchGet(ctx, keys(s.txnPrefix, args[1:]))
	}
	if err != nil {
		return "", err
	}
	var pairs []string
	for _, arg := range args[1:] {
		value, found := values[string(key(s.txnPrefix, arg))]
		pairs = append(pairs, arg+"="+showFound(value, found))
	}
	return strings.Join(pairs, " "), nil
}

type iterator interface {
	Valid() bool
	Key() []byte
	Value() []byte
	Next() error
	Close()
}

func scan(_ context.Context, s *session, args []string) (string, error) {
	t, err := find(s, args[0])
	if err != nil {
		return "", err
	}
	from, to, limit, err := bounds(s.txnPrefix, args[1:])
	if err != nil {
		return "", err
	}
	var rows iterator
	if t.KVTxn != nil {
		rows, err = t.Iter(from, to)
	} else {
		rows, err = t.snapshot.Iter(from, to)
	}
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var keys, values [][]byte
	for ; rows.Valid() && len(keys) < limit; err = rows.Next() {
		if err != nil {
			return "", err
		}
		keys = append(keys, append([]byte(nil), rows.Key()...))
		values = append(values, append([]byte(nil), rows.Value()...))
	}
	return showPairs(s.txnPrefix, keys, values), err
}

func set(_ context.Context, s *session, args []string) (string, error) {
	t, err := find(s, args[0])
	if err != nil {
		return "", err
	}
	return "ok", t.Set(key(s.txnPrefix, args[1]), parse(args[2]))
}

func remove(_ context.Context, s *session, args []string) (string, error) {
	t, err := find(s, args[0])
	if err != nil {
		return "", err
	}
	return "ok", t.Delete(key(s.txnPrefix, args[1]))
}

// Locks keys at a new timestamp. A lock of another transaction is an error at once.
func lock(ctx context.Context, s *session, args []string) (string, error) {
	t, err := find(s, args[0])
	if err != nil {
		return "", err
	}
	_, err = lockKeys(ctx, s, t, keys(s.txnPrefix, args[1:]), false)
	return "ok", err
}

func getForUpdate(ctx context.Context, s *session, args []string) (string, error) {
	t, err := find(s, args[0])
	if err != nil {
		return "", err
	}
	locked, err := lockKeys(ctx, s, t, keys(s.txnPrefix, args[1:]), true)
	if err != nil {
		return "", err
	}
	value := locked.Values[string(key(s.txnPrefix, args[1]))]
	return showFound(value.Value, value.Exists), nil
}

func lockKeys(ctx context.Context, s *session, t *transaction, keys [][]byte, values bool) (*kv.LockCtx, error) {
	ts, err := s.txn.GetTimestamp(ctx)
	if err != nil {
		return nil, err
	}
	lock := kv.NewLockCtx(ts, kv.LockNoWait, time.Now())
	if values {
		lock.InitReturnValues(len(keys))
	}
	return lock, t.LockKeys(ctx, lock, keys...)
}

func commit(ctx context.Context, s *session, args []string) (string, error) {
	t, err := find(s, args[0])
	if err != nil {
		return "", err
	}
	return "ok", t.Commit(ctx)
}

func rollback(_ context.Context, s *session, args []string) (string, error) {
	t, err := find(s, args[0])
	if err != nil {
		return "", err
	}
	return "ok", t.Rollback()
}

func mode(_ context.Context, s *session, args []string) (string, error) {
	t, err := find(s, args[0])
	if err != nil {
		return "", err
	}
	return t.mode, nil
}

// Names the errors that every client has in the same words.
func describe(err error) string {
	switch {
	case tikverr.IsErrWriteConflict(err):
		return "write conflict"
	case errors.Is(err, tikverr.ErrLockAcquireFailAndNoWaitSet):
		return "locked"
	default:
		return err.Error()
	}
}
