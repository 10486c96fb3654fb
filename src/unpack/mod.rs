//! Message bytes -> documents. Pure.
