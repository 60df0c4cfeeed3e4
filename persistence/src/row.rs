//! How values stand in the columns of the database.

use std::sync::Arc;

use bytes::Bytes;
use mqtt::packet::{ForwardedProperties, SubscriptionOptions};
use mqtt::session::{Delivery, QueueClass, lane_of};
use mqtt::{Message, ProtocolVersion, QoS, Timestamp, TopicFilter, TopicName};
use rusqlite::{Error, Row, types::Type};

use crate::{DelayedMessage, checksum};

/// A subscription of a durable session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSubscription {
    /// What is subscribed to.
    pub filter: TopicFilter,
    /// How.
    pub options: SubscriptionOptions,
    /// The Subscription Identifier, if it has one.
    pub identifier: Option<u32>,
}

/// A column whose content this program cannot have written.
pub(crate) fn corrupt(column: usize, kind: Type, problem: impl std::fmt::Display) -> Error {
    Error::FromSqlConversionFailure(column, kind, problem.to_string().into())
}

/// A number as a column can hold it: one of 2^63 or more, which only a time without end is, is
/// the greatest.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn timestamp(timestamp: Timestamp) -> i64 {
    integer(timestamp.as_millis())
}

pub(crate) fn qos(row: &Row<'_>, column: usize) -> Result<QoS, Error> {
    let number: u8 = row.get(column)?;
    QoS::from_u8(number).ok_or_else(|| corrupt(column, Type::Integer, "no QoS"))
}

/// Reads topic, payload, properties, qos, retain and expires_at from `first` on.
pub(crate) fn message(row: &Row<'_>, first: usize) -> Result<Message, Error> {
    let topic: String = row.get(first)?;
    let topic = TopicName::new(&topic).map_err(|error| corrupt(first, Type::Text, error))?;
    let payload: Vec<u8> = row.get(first + 1)?;
    let properties: Vec<u8> = row.get(first + 2)?;
    let properties = ForwardedProperties::from_bytes(properties.into())
        .map_err(|error| corrupt(first + 2, Type::Blob, error))?;
    let expires_at: Option<u64> = row.get(first + 5)?;
    Ok(Message {
        topic,
        payload: Bytes::from(payload),
        qos: qos(row, first + 3)?,
        retain: row.get(first + 4)?,
        expires_at: expires_at.map(Timestamp::from_millis),
        properties,
    })
}

/// Reads a message like [`message`], and compares it with its sum in the last column, which is null
/// if nobody has summed it up.
pub(crate) fn checked_message(row: &Row<'_>, first: usize) -> Result<Message, Error> {
    let message = message(row, first)?;
    let last = row.as_ref().column_count() - 1;
    let expected: Option<i64> = row.get(last)?;
    if expected.is_some_and(|it| it != checksum::of(&message.topic, &message)) {
        return Err(corrupt(last, Type::Integer, "its bytes have changed"));
    }
    Ok(message)
}

/// Reads id and due, then the message, and its sum in the last column.
pub(crate) fn delayed(row: &Row<'_>) -> Result<DelayedMessage, Error> {
    Ok(DelayedMessage {
        id: row.get(0)?,
        due: Timestamp::from_millis(row.get(1)?),
        message: Arc::new(checked_message(row, 2)?),
    })
}

/// Reads what [`delivery`] does, with the end of the delivery before the sum of the message.
pub(crate) fn expiring_delivery(row: &Row<'_>) -> Result<Delivery, Error> {
    let expires_at: Option<u64> = row.get(11)?;
    Ok(Delivery {
        expires_at: expires_at.map(Timestamp::from_millis),
        ..delivery(row)?
    })
}

/// Reads sequence, qos, retain and subscription_ids, then the message, latest_only, and the sum of
/// the message in the last column.
pub(crate) fn delivery(row: &Row<'_>) -> Result<Delivery, Error> {
    let sequence = row.get(0)?;
    Ok(Delivery {
        sequence,
        qos: qos(row, 1)?,
        retain: row.get(2)?,
        subscription_ids: read_subscription_ids(row, 3)?,
        class: QueueClass {
            lane: lane_of(sequence),
            latest_only: row.get(10)?,
        },
        message: Arc::new(checked_message(row, 4)?),
        expires_at: None,
    })
}

pub(crate) fn read_subscription_ids(row: &Row<'_>, column: usize) -> Result<Vec<u32>, Error> {
    let ids: Vec<u8> = row.get(column)?;
    let (ids, rest) = ids.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(corrupt(column, Type::Blob, "no Subscription Identifiers"));
    }
    Ok(ids.iter().map(|id| u32::from_le_bytes(*id)).collect())
}

pub(crate) fn subscription_ids(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

/// Reads filter, options and identifier from `first` on.
pub(crate) fn subscription(row: &Row<'_>, first: usize) -> Result<StoredSubscription, Error> {
    let filter: String = row.get(first)?;
    let filter = TopicFilter::new(&filter).map_err(|error| corrupt(first, Type::Text, error))?;
    let options = SubscriptionOptions::from_u8(row.get(first + 1)?, ProtocolVersion::V5)
        .map_err(|error| corrupt(first + 1, Type::Integer, error))?;
    Ok(StoredSubscription {
        filter,
        options,
        identifier: row.get(first + 2)?,
    })
}
