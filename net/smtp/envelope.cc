// The envelope's encoding: see the drawing in envelope.h.
#include "net/smtp/envelope.h"

#include <cstring>

namespace postern::net::smtp {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kFieldHead = 5;  // tag u8, length u32 LE

// Part of the disk format: numbers are never used again for something else. A reader skips tags it does not
// know.
enum Tag : std::uint8_t {
  tag_client = 1,  // 16 octets
  tag_helo = 2,
  tag_service = 3,
  tag_user = 4,
  tag_session_bits = 5,  // one octet: 1 = extended
  tag_reverse_path = 16,
  tag_sender_bits = 17,  // three octets: body, smtputf8, ret
  tag_envelope_id = 18,
  tag_recipient = 32,
  tag_notify = 33,  // one octet
  tag_original = 34,
};

struct Field {
  std::uint8_t tag = 0;
  std::string_view bytes;
};

// Reads the field at `at` and moves behind it. False: there is no whole field.
bool read_field(std::string_view head, std::size_t& at, Field& field) {
  if (head.size() - at < kFieldHead) return false;
  const auto octet = [&](std::size_t i) {
    return static_cast<std::uint32_t>(static_cast<std::uint8_t>(head[at + i]));
  };
  const std::size_t size = octet(1) | octet(2) << 8 | octet(3) << 16 | octet(4) << 24;
  if (head.size() - at - kFieldHead < size) return false;
  field.tag = static_cast<std::uint8_t>(octet(0));
  field.bytes = head.substr(at + kFieldHead, size);
  at += kFieldHead + size;
  return true;
}

bool read_client(std::string_view bytes, core::IpAddress& client) {
  if (bytes.size() != client.bytes.size()) return false;
  std::memcpy(client.bytes.data(), bytes.data(), bytes.size());
  return true;
}

bool read_sender_bits(std::string_view bytes, SenderFields& sender) {
  if (bytes.size() != 3) return false;
  const auto body = static_cast<std::uint8_t>(bytes[0]);
  const auto ret = static_cast<std::uint8_t>(bytes[2]);
  if (body > static_cast<std::uint8_t>(BodyType::binary_mime)) return false;
  if (ret > static_cast<std::uint8_t>(DsnReturn::headers)) return false;
  sender.body = static_cast<BodyType>(body);
  sender.smtputf8 = bytes[1] != 0;
  sender.ret = static_cast<DsnReturn>(ret);
  return true;
}

bool read_session_or_sender(const Field& field, SessionFields& session, SenderFields& sender) {
  switch (field.tag) {
    case tag_client:
      return read_client(field.bytes, session.client);
    case tag_helo:
      session.helo = field.bytes;
      return true;
    case tag_service:
      session.service = field.bytes;
      return true;
    case tag_user:
      session.user = field.bytes;
      return true;
    case tag_session_bits:
      if (field.bytes.size() != 1) return false;
      session.extended = (field.bytes[0] & 1) != 0;
      return true;
    case tag_reverse_path:
      sender.reverse_path = field.bytes;
      return true;
    case tag_sender_bits:
      return read_sender_bits(field.bytes, sender);
    case tag_envelope_id:
      sender.envelope_id = field.bytes;
      return true;
    default:
      return true;
  }
}

}  // namespace

bool EnvelopeWriter::reserve(std::size_t more) {
  const std::size_t wanted = size_ + more;
  if (wanted <= capacity_) return true;
  if (wanted > kMaxBytes) return false;
  const std::size_t capacity = core::BlockPool::class_bytes(wanted);
  char* block = pool_.take(capacity);
  if (block == nullptr) return false;
  if (block_ != nullptr) {
    std::memcpy(block, block_, size_);
    pool_.give_back(block_, capacity_);
  }
  block_ = block;
  capacity_ = capacity;
  return true;
}

void EnvelopeWriter::put(std::uint8_t tag, std::string_view bytes) {
  char* out = block_ + size_;
  const auto size = static_cast<std::uint32_t>(bytes.size());
  out[0] = static_cast<char>(tag);
  for (int i = 0; i < 4; ++i) out[1 + i] = static_cast<char>(size >> (8 * i));
  if (!bytes.empty()) std::memcpy(out + kFieldHead, bytes.data(), bytes.size());
  size_ += kFieldHead + bytes.size();
}

bool EnvelopeWriter::begin(const SessionFields& session, const SenderFields& sender) {
  clear();
  const std::size_t texts = session.helo.size() + session.service.size() + session.user.size() +
                            sender.reverse_path.size() + sender.envelope_id.size();
  if (!reserve(1 + 8 * kFieldHead + session.client.bytes.size() + 1 + 3 + texts)) return false;
  block_[size_++] = static_cast<char>(kVersion);
  char client[16];
  std::memcpy(client, session.client.bytes.data(), sizeof client);
  put(tag_client, {client, sizeof client});
  put(tag_helo, session.helo);
  put(tag_service, session.service);
  if (!session.user.empty()) put(tag_user, session.user);
  const char session_bits = session.extended ? 1 : 0;
  put(tag_session_bits, {&session_bits, 1});
  put(tag_reverse_path, sender.reverse_path);
  reverse_path_at_ = static_cast<std::uint32_t>(size_ - sender.reverse_path.size());
  reverse_path_bytes_ = static_cast<std::uint32_t>(sender.reverse_path.size());
  const char sender_bits[3] = {static_cast<char>(sender.body), static_cast<char>(sender.smtputf8 ? 1 : 0),
                               static_cast<char>(sender.ret)};
  put(tag_sender_bits, {sender_bits, sizeof sender_bits});
  if (!sender.envelope_id.empty()) put(tag_envelope_id, sender.envelope_id);
  return true;
}

bool EnvelopeWriter::add(const RecipientFields& recipient) {
  POSTERN_ASSERT(!empty());
  if (!reserve(3 * kFieldHead + recipient.forward_path.size() + 1 + recipient.original.size())) return false;
  put(tag_recipient, recipient.forward_path);
  if (recipient.notify != notify_unset) {
    const char notify = static_cast<char>(recipient.notify);
    put(tag_notify, {&notify, 1});
  }
  if (!recipient.original.empty()) put(tag_original, recipient.original);
  ++recipients_;
  return true;
}

void EnvelopeWriter::clear() {
  if (block_ != nullptr) pool_.give_back(block_, capacity_);
  block_ = nullptr;
  capacity_ = size_ = 0;
  recipients_ = 0;
  reverse_path_at_ = reverse_path_bytes_ = 0;
}

std::optional<EnvelopeReader> EnvelopeReader::open(std::string_view head) {
  if (head.empty() || static_cast<std::uint8_t>(head[0]) != kVersion) return std::nullopt;
  EnvelopeReader reader;
  reader.head_ = head;
  std::size_t at = 1;
  while (at < head.size()) {
    const std::size_t start = at;
    Field field;
    if (!read_field(head, at, field)) return std::nullopt;
    if (field.tag == tag_recipient) {
      if (reader.recipients_++ == 0) reader.first_recipient_ = start;
    } else if (field.tag == tag_notify && field.bytes.size() != 1) {
      return std::nullopt;
    } else if (!read_session_or_sender(field, reader.session_, reader.sender_)) {
      return std::nullopt;
    }
  }
  if (reader.recipients_ == 0) reader.first_recipient_ = head.size();
  return reader;
}

std::optional<RecipientFields> EnvelopeReader::next(Position& at) const {
  Field field;
  do {
    if (!read_field(head_, at, field)) return std::nullopt;
  } while (field.tag != tag_recipient);
  RecipientFields recipient;
  recipient.forward_path = field.bytes;
  for (Position ahead = at; read_field(head_, ahead, field) && field.tag != tag_recipient; at = ahead) {
    if (field.tag == tag_notify) recipient.notify = static_cast<std::uint8_t>(field.bytes[0]);
    if (field.tag == tag_original) recipient.original = field.bytes;
  }
  return recipient;
}

}  // namespace postern::net::smtp
