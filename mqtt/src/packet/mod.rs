//! stub
mod primitive;
mod property;
pub use property::{ForwardedProperties, Properties, Property, PropertyOwner};
