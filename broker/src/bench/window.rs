//! The Packet Identifiers of one publisher, and when their messages were published.

/// Messages of QoS 1 or 2 that are not acknowledged. It has memory for as many as there ever were.
#[derive(Debug)]
pub(super) struct Window {
    /// Messages that there may be.
    size: u16,
    /// Identifiers that were used and are free; the last one is taken first.
    free: Vec<u16>,
    /// For each identifier that was used when its message was published; none if it is free.
    published_at: Vec<Option<u64>>,
}

impl Window {
    /// A window of this many messages.
    pub(super) const fn new(size: u16) -> Self {
        Self {
            size,
            free: Vec::new(),
            published_at: Vec::new(),
        }
    }

    /// How many messages have room.
    pub(super) fn room(&self) -> usize {
        usize::from(self.size) - self.awaited()
    }

    /// How many messages await an acknowledgement.
    pub(super) const fn awaited(&self) -> usize {
        self.published_at.len() - self.free.len()
    }

    /// An identifier for a message; none if there is no room.
    pub(super) fn take(&mut self, at: u64) -> Option<u16> {
        if let Some(packet_id) = self.free.pop() {
            *self.slot(packet_id)? = Some(at);
            return Some(packet_id);
        }
        let used = u16::try_from(self.published_at.len()).ok();
        let packet_id = used.filter(|&it| it < self.size)? + 1;
        self.published_at.push(Some(at));
        Some(packet_id)
    }

    /// Frees an identifier; returns when its message was published, if there is one.
    pub(super) fn release(&mut self, packet_id: u16) -> Option<u64> {
        let at = self.slot(packet_id)?.take()?;
        self.free.push(packet_id);
        Some(at)
    }

    /// Whether a message with this identifier awaits an acknowledgement.
    pub(super) fn holds(&mut self, packet_id: u16) -> bool {
        self.slot(packet_id).is_some_and(|at| at.is_some())
    }

    fn slot(&mut self, packet_id: u16) -> Option<&mut Option<u64>> {
        let index = usize::from(packet_id).checked_sub(1)?;
        self.published_at.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_used_again_once_they_are_free() {
        let mut window = Window::new(2);
        assert_eq!((window.take(10), window.take(20)), (Some(1), Some(2)));
        assert_eq!((window.take(30), window.room()), (None, 0));
        assert!(window.holds(1) && window.awaited() == 2);
        assert_eq!(window.release(1), Some(10));
        assert_eq!(window.release(1), None);
        assert_eq!(window.take(30), Some(1));
        assert_eq!(window.release(2), Some(20));
        assert_eq!(window.release(1), Some(30));
        assert_eq!((window.awaited(), window.room()), (0, 2));
    }

    #[test]
    fn identifiers_that_were_never_given_are_unknown() {
        let mut window = Window::new(u16::MAX);
        assert_eq!(window.release(0), None);
        assert_eq!(window.release(u16::MAX), None);
        assert!(!window.holds(0));
        assert_eq!(window.room(), usize::from(u16::MAX));
    }
}
