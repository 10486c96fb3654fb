//! What a user can see, through real sockets and real servers, in one binary.

mod corpus;
mod inspect;
mod samples;
