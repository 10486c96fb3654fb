//! The watch over what is published.
