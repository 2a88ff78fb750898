//! Connections that are cut while messages are on their way.
