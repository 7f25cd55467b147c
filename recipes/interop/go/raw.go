package main

import (
	"context"
	"strings"
)

func rawPut(ctx context.Context, s *session, args []string) (string, error) {
	return "ok", s.raw.Put(ctx, key(s.rawPrefix, args[0]), parse(args[1]))
}

func rawGet(ctx context.Context, s *session, args []string) (string, error) {
	value, err := s.raw.Get(ctx, key(s.rawPrefix, args[0]))
	return showFound(value, value != nil), err
}

func rawDelete(ctx context.Context, s *session, args []string) (string, error) {
	return "ok", s.raw.Delete(ctx, key(s.rawPrefix, args[0]))
}

func rawBatchPut(ctx context.Context, s *session, args []string) (string, error) {
	var keys, values [][]byte
	for i := 0; i+1 < len(args); i += 2 {
		keys = append(keys, key(s.rawPrefix, args[i]))
		values = append(values, parse(args[i+1]))
	}
	return "ok", s.raw.BatchPut(ctx, keys, values)
}

// The client returns a value for each key, in the order of the keys.
func rawBatchGet(ctx context.Context, s *session, args []string) (string, error) {
	values, err := s.raw.BatchGet(ctx, keys(s.rawPrefix, args))
	if err != nil {
		return "", err
	}
	pairs := make([]string, len(args))
	for i, arg := range args {
		pairs[i] = arg + "=" + showFound(values[i], values[i] != nil)
	}
	return strings.Join(pairs, " "), nil
}

func rawBatchDelete(ctx context.Context, s *session, args []string) (string, error) {
	return "ok", s.raw.BatchDelete(ctx, keys(s.rawPrefix, args))
}

func rawScan(ctx context.Context, s *session, args []string) (string, error) {
	from, to, limit, err := bounds(s.rawPrefix, args)
	if err != nil {
		return "", err
	}
	keys, values, err := s.raw.Scan(ctx, from, to, limit)
	return showPairs(s.rawPrefix, keys, values), err
}

// The first bound is the upper one, and excluded.
func rawReverseScan(ctx context.Context, s *session, args []string) (string, error) {
	from, to, limit, err := bounds(s.rawPrefix, args)
	if err != nil {
		return "", err
	}
	keys, values, err := s.raw.ReverseScan(ctx, from, to, limit)
	return showPairs(s.rawPrefix, keys, values), err
}

func rawDeleteRange(ctx context.Context, s *session, args []string) (string, error) {
	return "ok", s.raw.DeleteRange(ctx, key(s.rawPrefix, args[0]), key(s.rawPrefix, args[1]))
}

func rawCas(ctx context.Context, s *session, args []string) (string, error) {
	var expected []byte
	if args[1] != "none" {
		expected = parse(args[1])
	}
	previous, swapped, err := s.atomic.CompareAndSwap(ctx, key(s.rawPrefix, args[0]), expected, parse(args[2]))
	if err != nil {
		return "", err
	}
	if swapped {
		return "swapped", nil
	}
	return "found " + showFound(previous, previous != nil), nil
}
