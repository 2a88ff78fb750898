//! The Azure Storage Queue backend.
