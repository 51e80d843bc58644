package interop

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/treekem/mls"
)

// refuse turns an error of the library into a gRPC status with its text.
func refuse(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codeOf(err), err.Error())
}

func codeOf(err error) codes.Code {
	switch {
	case errors.Is(err, mls.ErrUnavailable): // whatever the cause is
		return codes.FailedPrecondition
	case errors.Is(err, mls.ErrMalformed):
		return codes.InvalidArgument
	case errors.Is(err, mls.ErrUnsupported):
		return codes.Unimplemented
	case errors.Is(err, mls.ErrAuth):
		return codes.Unauthenticated
	case errors.Is(err, mls.ErrInvalid):
		return codes.FailedPrecondition
	case errors.Is(err, mls.ErrPending), errors.Is(err, mls.ErrRemoved), errors.Is(err, mls.ErrUnknownProposal),
		errors.Is(err, mls.ErrWrongEpoch), errors.Is(err, mls.ErrWrongGroup):
		return codes.FailedPrecondition
	}
	return codes.Unknown
}

// malformed is the answer to arguments that make no sense.
func malformed(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}
