//! From our type tree to a topic: the stack's dynamic types, then a topic descriptor.
//!
//! The topic is a typed one, so the stack knows the keys, announces the type to peers and checks
//! every sample against it, in both directions, before we see it.

use std::mem::zeroed;
use std::ptr;

use cyclors::{
    DDS_DYNAMIC_MEMBER_ID_AUTO, dds_dynamic_enum_literal_value_t, dds_dynamic_member_descriptor_t,
    dds_dynamic_type_descriptor_t, dds_dynamic_type_kind_t, dds_dynamic_type_spec_t,
    dds_dynamic_type_t, dds_entity_t, dds_topic_descriptor_t, dds_typeinfo_t,
};

use super::{DdsError, Entity, Participant, c_string, check};
use crate::type_tree::{Enumeration, Extensibility, Primitive, Structure, Type};

/// How long to wait for a type that is known locally, in nanoseconds; it is there at once.
const RESOLVE_NANOS: i64 = 1_000_000_000;
/// Collections need a name that is not empty; it does not reach the wire.
const COLLECTION_NAME: &str = "collection";

/// Creates a topic of a type.
pub(super) fn create_topic(
    participant: &Participant,
    name: &str,
    structure: &Structure,
) -> Result<Entity, DdsError> {
    let type_name = &structure.name;
    let what = format!("the type `{type_name}` cannot be set up");
    let builder = Builder {
        entity: participant.handle(),
        what: &what,
    };
    let info = builder.register(structure)?;
    let mut descriptor: *mut dds_topic_descriptor_t = ptr::null_mut();
    // SAFETY: the participant exists, the type information was just made by the stack, and the
    // descriptor is only read after success.
    let code = unsafe {
        cyclors::dds_create_topic_descriptor(
            cyclors::dds_find_scope_DDS_FIND_SCOPE_LOCAL_DOMAIN,
            participant.handle(),
            info.info,
            RESOLVE_NANOS,
            &raw mut descriptor,
        )
    };
    check(code, &what)?;
    let topic_name = c_string(name);
    let handle = topic_name.map(|topic_name| {
        // SAFETY: descriptor and name are valid for the call, the topic keeps copies; no QoS and
        // no listener means the defaults.
        unsafe {
            cyclors::dds_create_topic(
                participant.handle(),
                descriptor,
                topic_name.as_ptr(),
                ptr::null(),
                ptr::null(),
            )
        }
    });
    // SAFETY: the descriptor came from the stack and is freed once.
    unsafe { cyclors::dds_delete_topic_descriptor(descriptor) };
    Entity::new(
        handle?,
        &format!("the topic `{name}` of type `{type_name}` cannot be created"),
    )
}

/// A registered type; both are freed when it is dropped.
struct Registered {
    dynamic_type: dds_dynamic_type_t,
    info: *mut dds_typeinfo_t,
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: both came from the stack, belong to this value and are freed once.
        unsafe {
            cyclors::dds_free_typeinfo(self.info);
            cyclors::dds_dynamic_type_unref(&raw mut self.dynamic_type);
        }
    }
}

struct Builder<'b> {
    entity: dds_entity_t,
    what: &'b str,
}

impl Builder<'_> {
    fn check(&self, code: i32) -> Result<(), DdsError> {
        check(code, self.what).map(|_| ())
    }

    fn register(&self, structure: &Structure) -> Result<Registered, DdsError> {
        let mut dynamic_type = self.structure(structure, false)?;
        let mut info = ptr::null_mut();
        // SAFETY: the type is under construction and ours; `info` is only read after success.
        let code =
            unsafe { cyclors::dds_dynamic_type_register(&raw mut dynamic_type, &raw mut info) };
        if let Err(error) = self.check(code) {
            // SAFETY: the type is ours and freed once.
            unsafe { cyclors::dds_dynamic_type_unref(&raw mut dynamic_type) };
            return Err(error);
        }
        Ok(Registered { dynamic_type, info })
    }

    fn create(
        &self,
        kind: dds_dynamic_type_kind_t,
        name: &str,
        element: Option<dds_dynamic_type_spec_t>,
        bounds: &[u32],
    ) -> Result<dds_dynamic_type_t, DdsError> {
        let name = c_string(name)?;
        // SAFETY: all-zero is the descriptor's "nothing set": null pointers, numbers, and specs
        // of kind "unset".
        let mut descriptor: dds_dynamic_type_descriptor_t = unsafe { zeroed() };
        descriptor.kind = kind;
        descriptor.name = name.as_ptr();
        if let Some(element) = element {
            descriptor.element_type = element;
        }
        if !bounds.is_empty() {
            // Dimensions are limited to a few by the IDL parser.
            descriptor.num_bounds = bounds.len() as u32;
            descriptor.bounds = bounds.as_ptr();
        }
        // SAFETY: name and bounds outlive the call, which copies them; the element's reference
        // passes to the new type.
        let created = unsafe { cyclors::dds_dynamic_type_create(self.entity, descriptor) };
        self.check(created.ret).map(|()| created)
    }

    fn spec(&self, member_type: &Type) -> Result<dds_dynamic_type_spec_t, DdsError> {
        let created = match member_type {
            Type::Primitive(primitive) => return Ok(primitive_spec(*primitive)),
            Type::Text { bound } => {
                let kind = cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_STRING8;
                self.create(kind, COLLECTION_NAME, None, bound.as_slice())?
            }
            Type::Sequence { element, bound } => {
                let element = self.spec(element)?;
                let kind = cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_SEQUENCE;
                self.create(kind, COLLECTION_NAME, Some(element), bound.as_slice())?
            }
            Type::Array {
                element,
                dimensions,
            } => {
                let element = self.spec(element)?;
                let kind = cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_ARRAY;
                self.create(kind, COLLECTION_NAME, Some(element), dimensions)?
            }
            Type::Enumeration(enumeration) => self.enumeration(enumeration)?,
            Type::Structure(structure) => self.structure(structure, true)?,
        };
        // SAFETY: all-zero is a spec of kind "unset".
        let mut spec: dds_dynamic_type_spec_t = unsafe { zeroed() };
        spec.kind = cyclors::dds_dynamic_type_spec_kind_DDS_DYNAMIC_TYPE_KIND_DEFINITION;
        spec.type_.type_ = created;
        Ok(spec)
    }

    fn enumeration(&self, enumeration: &Enumeration) -> Result<dds_dynamic_type_t, DdsError> {
        let kind = cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_ENUMERATION;
        let mut created = self.create(kind, &enumeration.name, None, &[])?;
        for (value, literal) in (0..).zip(&enumeration.literals) {
            let name = c_string(literal)?;
            let value = dds_dynamic_enum_literal_value_t {
                value_kind: cyclors::dds_dynamic_type_enum_value_kind_DDS_DYNAMIC_ENUM_LITERAL_VALUE_EXPLICIT,
                value,
            };
            // SAFETY: the type is under construction and ours; the name is copied.
            let code = unsafe {
                cyclors::dds_dynamic_type_add_enum_literal(
                    &raw mut created,
                    name.as_ptr(),
                    value,
                    false,
                )
            };
            self.check(code)?;
        }
        Ok(created)
    }

    fn structure(
        &self,
        structure: &Structure,
        is_nested: bool,
    ) -> Result<dds_dynamic_type_t, DdsError> {
        let kind = cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_STRUCTURE;
        let mut created = self.create(kind, &structure.name, None, &[])?;
        let extensibility = match structure.extensibility {
            Extensibility::Final => {
                cyclors::dds_dynamic_type_extensibility_DDS_DYNAMIC_TYPE_EXT_FINAL
            }
            Extensibility::Appendable => {
                cyclors::dds_dynamic_type_extensibility_DDS_DYNAMIC_TYPE_EXT_APPENDABLE
            }
        };
        // SAFETY: the type is under construction and ours.
        let code =
            unsafe { cyclors::dds_dynamic_type_set_extensibility(&raw mut created, extensibility) };
        self.check(code)?;
        if is_nested {
            // SAFETY: as above.
            let code = unsafe { cyclors::dds_dynamic_type_set_nested(&raw mut created, true) };
            self.check(code)?;
        }
        for (index, member) in (0..).zip(&structure.members) {
            let name = c_string(&member.name)?;
            // SAFETY: all-zero is "nothing set": null pointers, numbers, false.
            let mut descriptor: dds_dynamic_member_descriptor_t = unsafe { zeroed() };
            descriptor.name = name.as_ptr();
            descriptor.id = DDS_DYNAMIC_MEMBER_ID_AUTO;
            descriptor.index = u32::MAX;
            descriptor.type_ = self.spec(&member.member_type)?;
            // SAFETY: the type is under construction and ours; the name is copied and the
            // member's type passes to it.
            let code =
                unsafe { cyclors::dds_dynamic_type_add_member(&raw mut created, descriptor) };
            self.check(code)?;
            if member.is_key {
                // SAFETY: as above; ids are given out in sequence from 0.
                let code =
                    unsafe { cyclors::dds_dynamic_member_set_key(&raw mut created, index, true) };
                self.check(code)?;
            }
        }
        Ok(created)
    }
}

fn primitive_spec(primitive: Primitive) -> dds_dynamic_type_spec_t {
    let kind = match primitive {
        Primitive::Boolean => cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_BOOLEAN,
        Primitive::Octet => cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_BYTE,
        Primitive::Char => cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_CHAR8,
        Primitive::Int8 => cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_INT8,
        Primitive::UInt8 => cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_UINT8,
        Primitive::Int16 => cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_INT16,
        Primitive::UInt16 => cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_UINT16,
        Primitive::Int32 => cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_INT32,
        Primitive::UInt32 => cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_UINT32,
        Primitive::Int64 => cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_INT64,
        Primitive::UInt64 => cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_UINT64,
        Primitive::Float32 => cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_FLOAT32,
        Primitive::Float64 => cyclors::dds_dynamic_type_kind_DDS_DYNAMIC_FLOAT64,
    };
    // SAFETY: all-zero is a spec of kind "unset".
    let mut spec: dds_dynamic_type_spec_t = unsafe { zeroed() };
    spec.kind = cyclors::dds_dynamic_type_spec_kind_DDS_DYNAMIC_TYPE_KIND_PRIMITIVE;
    spec.type_.primitive = kind;
    spec
}
