//! `check --connect`: is the broker there, and is the destination what it should be? Nothing is created.

use tokio::time::timeout;

use crate::bounds;
use crate::fault::Fault;
use crate::link::Broker;
use crate::options::{Options, Place};
use crate::topology;

/// Reaches the broker within [`bounds::CHECK_DEADLINE`]; the answer is what to be warned about.
///
/// # Errors
/// Why no message could be published.
pub async fn check(options: &Options) -> Result<Vec<String>, String> {
    let broker = Broker::read(options).map_err(|error| error.to_string())?;
    let place = options.place().map_err(|error| error.to_string())?;
    let asked = async {
        let session = broker.open("sluiced check").await.map_err(|(address, fault)| match fault {
            Fault::Refused(why) => format!("RabbitMQ at {address} refuses the credentials: {why}"),
            fault => format!("RabbitMQ at {address} can't be reached: {}", fault.text()),
        })?;
        let found = topology::compare(&session, &place, options.delivery_limit).await;
        session.close().await;
        conclude(found, &place, options.declare)
    };
    let late = |_| format!("RabbitMQ gave no answer within {} s", bounds::CHECK_DEADLINE.as_secs());
    timeout(bounds::CHECK_DEADLINE, asked).await.map_err(late)?
}

fn conclude(
    differences: Result<Vec<String>, Fault>,
    place: &Place,
    declare: bool,
) -> Result<Vec<String>, String> {
    match differences {
        Ok(differences) => Ok(differences
            .into_iter()
            .map(|why| format!("{} is used as it is, but differs: {why}", place.describe()))
            .collect()),
        Err(Fault::Missing(_)) if declare => Ok(Vec::new()),
        Err(fault) => Err(format!("{}: {}", place.describe(), fault.text())),
    }
}
