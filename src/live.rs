//! What a running daemon can exchange: where deliveries go and whom they are taken from.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::config::{Config, ConfigError};
use crate::http::forwarded::TrustedProxies;
use crate::http::rate::AddressLimit;
use crate::receivers::Receivers;

/// What a new configuration replaces as one.
#[derive(Debug)]
pub struct Live {
    /// Where deliveries go.
    pub receivers: Receivers,
    /// Who may say where a delivery comes from.
    pub trusted: TrustedProxies,
    address_limit: Option<AddressLimit>,
}

impl Live {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// As [`Receivers::compile`].
    pub fn compile(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            receivers: Receivers::compile(config)?,
            trusted: config.front_door.trusted.clone(),
            address_limit: config.front_door.address_rate.map(AddressLimit::new),
        })
    }

    /// Counts a request of an address.
    ///
    /// # Errors
    /// When it has had too many: the time until it may have another.
    pub fn admit(&self, client: IpAddr) -> Result<(), Duration> {
        self.address_limit.as_ref().map_or(Ok(()), |limit| limit.take(client, Instant::now()))
    }
}

/// A value that can be exchanged while others use it.
#[derive(Debug)]
pub struct Swap<T> {
    present: RwLock<Arc<T>>,
    changing: Mutex<()>,
}

impl<T> Swap<T> {
    /// Holds this value at first.
    pub fn new(value: T) -> Self {
        Self { present: RwLock::new(Arc::new(value)), changing: Mutex::default() }
    }

    /// The present value. Whoever has it keeps it as it is.
    pub fn get(&self) -> Arc<T> {
        self.present.read().expect("nothing panics under this lock").clone()
    }

    /// While this is held, nobody else exchanges the value or changes what the next one is read from. Blocks.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exchanges it.
    pub fn set(&self, value: T) {
        *self.present.write().expect("nothing panics under this lock") = Arc::new(value);
    }
}
