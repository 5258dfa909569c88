//! How much a message weighs, independent of spelling and whitespace.

/// Counts over one message and everything below it, taken while reading.
///
/// Envoy keeps the protobuf of every resource for its dump; what that costs depends on how many messages, strings and
/// repeated fields there are, not on how the JSON was indented. `snake_case` and `lowerCamelCase`, pretty and minified
/// text of one resource give equal weights. Sums saturate: one message cannot reach the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Weight {
    /// JSON objects: messages, and maps.
    pub messages: u32,
    /// Strings such as `15s`, outside free-form structures: each is a message of its own in Envoy.
    pub durations: u32,
    /// JSON arrays: repeated fields.
    pub lists: u32,
    /// Elements of arrays that are scalars or strings.
    pub list_items: u32,
    /// Object keys of any kind.
    pub fields: u32,
    /// String values.
    pub strings: u32,
    /// Bytes of string values after unescaping (base64 counts as written).
    pub string_bytes: u32,
    /// String values longer than 22 bytes, which libc++'s `std::string` keeps on the heap.
    pub long_strings: u32,
    /// Numbers and booleans.
    pub scalars: u32,
    /// Values inside `filter_metadata`: free-form structures cost several times what typed messages do.
    pub struct_values: u32,
    /// Regular expressions (`regex` fields): each one is compiled.
    pub regexes: u32,
    /// Steps of regular expressions: characters, and ranges of classes.
    pub regex_steps: u32,
}

impl Weight {
    /// A rough size of the message on the wire, in bytes: contents plus a tag and length per field.
    pub fn wire_bytes(&self) -> u64 {
        u64::from(self.string_bytes) + 3 * u64::from(self.fields) + 2 * u64::from(self.list_items)
    }
}

impl std::ops::Add for Weight {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self {
            messages: self.messages.saturating_add(o.messages),
            durations: self.durations.saturating_add(o.durations),
            lists: self.lists.saturating_add(o.lists),
            list_items: self.list_items.saturating_add(o.list_items),
            fields: self.fields.saturating_add(o.fields),
            strings: self.strings.saturating_add(o.strings),
            string_bytes: self.string_bytes.saturating_add(o.string_bytes),
            long_strings: self.long_strings.saturating_add(o.long_strings),
            scalars: self.scalars.saturating_add(o.scalars),
            struct_values: self.struct_values.saturating_add(o.struct_values),
            regexes: self.regexes.saturating_add(o.regexes),
            regex_steps: self.regex_steps.saturating_add(o.regex_steps),
        }
    }
}

impl std::ops::Sub for Weight {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(o.messages),
            durations: self.durations.saturating_sub(o.durations),
            lists: self.lists.saturating_sub(o.lists),
            list_items: self.list_items.saturating_sub(o.list_items),
            fields: self.fields.saturating_sub(o.fields),
            strings: self.strings.saturating_sub(o.strings),
            string_bytes: self.string_bytes.saturating_sub(o.string_bytes),
            long_strings: self.long_strings.saturating_sub(o.long_strings),
            scalars: self.scalars.saturating_sub(o.scalars),
            struct_values: self.struct_values.saturating_sub(o.struct_values),
            regexes: self.regexes.saturating_sub(o.regexes),
            regex_steps: self.regex_steps.saturating_sub(o.regex_steps),
        }
    }
}

impl std::iter::Sum for Weight {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), |a, b| a + b)
    }
}
