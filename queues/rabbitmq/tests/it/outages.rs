//! A broker that is absent, killed, frozen or blocked.
