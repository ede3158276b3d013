//go:build tools

// Package tools names the outside programs that tests/conformance runs, so that go.mod and go.sum pin them.
package tools

import (
	_ "github.com/summerwind/h2spec/cmd/h2spec"
	_ "github.com/summerwind/h2spec/cmd/h2specd"
	_ "google.golang.org/grpc/interop/client"
	_ "google.golang.org/grpc/interop/server"
)
