//! What the ASP.NET custom sender sends: typed data for receivers of its webhooks.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The body of a `custom` webhook. Read it with [`crate::WebHookQueueContext::data_as`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CustomNotifications {
    /// Names the delivery; the same for each attempt.
    #[serde(alias = "id")]
    pub id: String,
    /// Which attempt this is, from 1.
    #[serde(alias = "attempt", default)]
    pub attempt: u32,
    /// What the subscription was registered with.
    #[serde(alias = "properties", default)]
    pub properties: Map<String, Value>,
    /// The notifications, each with its `Action`.
    #[serde(alias = "notifications")]
    pub notifications: Vec<Map<String, Value>>,
}

impl CustomNotifications {
    /// The actions of the notifications, in order.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.notifications.iter().filter_map(|n| n.get("Action").or_else(|| n.get("action"))?.as_str())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Data;

    #[test]
    fn reads_what_the_sender_writes() {
        let body = br#"{"Id":"n1","Attempt":2,"Properties":{"p":1},"Notifications":[{"Action":"a1","K":"v"},{"Action":"a2"}]}"#;
        let data = Data::classify(Some("application/json"), false, Bytes::from_static(body));
        let read: CustomNotifications = data.parse().unwrap();
        assert_eq!((read.id.as_str(), read.attempt), ("n1", 2));
        assert_eq!(read.actions().collect::<Vec<_>>(), ["a1", "a2"]);
        assert_eq!(read.notifications[0]["K"], "v");
    }

    #[test]
    fn what_does_not_fit_is_none() {
        for body in ["[]", "{\"Notifications\":3}", "12"] {
            let data = Data::classify(Some("application/json"), false, Bytes::from(body));
            assert_eq!(data.parse::<CustomNotifications>(), None, "{body}");
        }
        let form =
            Data::classify(Some("application/x-www-form-urlencoded"), false, Bytes::from_static(b"Id=1"));
        assert_eq!(form.parse::<CustomNotifications>(), None, "a form is never converted");
    }
}
