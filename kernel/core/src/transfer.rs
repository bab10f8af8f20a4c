//! Message bodies: what a message holds besides bytes.
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::message::Message;
use crate::object::Ref;
impl<M: Machine> Kernel<M> {
    /// Destroys what the body of a message holds.
    pub(crate) fn body_destroy(&mut self, message: Ref<Message>) {
        for i in 0..self.get(message).rights {
            self.drop_right(self.message_right(message, i));
        }
    }
}
