//! What is expected of the broker at this place of a conversation.

use std::io;

use crate::block::Block;
use crate::wire::WireClient;

impl WireClient {
    /// The connection ends, and nothing comes before.
    ///
    /// # Panics
    /// Something comes, or the connection stays open.
    #[track_caller]
    pub fn expect_end(&mut self) {
        match self.receive() {
            Ok(None) => {}
            // With bytes of ours unread a close becomes a reset.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Ok(Some(packet)) => panic!("still came: {packet:?}"),
            Err(error) => panic!("the connection is not closed: {error}"),
        }
    }

    /// A DISCONNECT with this Reason Code comes that says why, and the end behind it.
    ///
    /// # Panics
    /// Something else comes.
    #[track_caller]
    pub fn expect_disconnect(&mut self, reason: u8) -> Block {
        let packet = self.expect(0xe0).expect("DISCONNECT");
        assert_eq!(packet.body.first(), Some(&reason), "{packet:02x?}");
        let properties = Block::of(&packet);
        // [MQTT-3.14.2-2]
        assert_eq!(properties.find(0x11), None, "a server sent it");
        let why = properties.text(0x1f);
        assert!(why.is_some_and(|it| !it.is_empty()), "it does not say why");
        self.expect_end();
        properties
    }

    /// These bytes come next.
    ///
    /// # Panics
    /// Others do.
    #[track_caller]
    pub fn expect_bytes(&mut self, bytes: &[u8]) {
        let found = self.receive_bytes(bytes.len()).expect("so many bytes");
        assert_eq!(found, bytes, "{found:02x?} came, {bytes:02x?} expected");
    }
}
