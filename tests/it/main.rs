//! What a user can see, through real sockets and real servers, in one binary.

mod drift;
mod house;
mod lab;
mod otlp;
mod postfix;
mod samples;
mod telemetry;
