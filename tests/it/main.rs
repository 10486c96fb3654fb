//! What a user can see, through real sockets and real servers, in one binary.

mod drift;
mod lab;
