//! The operator's TOML -> [`super::Config`].
