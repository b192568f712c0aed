// Text that is wiped when it goes: passwords, password hashes, verifiers.
//
// Thread: as std::string. Never goes to a log: there is no stream operator and no implicit conversion to a string.
#pragma once

#include <openssl/mem.h>
#include <string>
#include <string_view>
#include <utility>

namespace postern::net::users {

// Overwrites what the string holds, its spare room included, and empties it.
inline void wipe(std::string& text) {
  text.resize(text.capacity());
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string_view text) : text_(text) {}
  Secret(const Secret&) = default;
  Secret(Secret&& other) noexcept : text_(std::move(other.text_)) { wipe(other.text_); }
  Secret& operator=(const Secret& other) {
    if (this != &other) {
      wipe(text_);
      text_ = other.text_;
    }
    return *this;
  }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      wipe(text_);
      text_ = std::move(other.text_);
      wipe(other.text_);
    }
    return *this;
  }
  ~Secret() { wipe(text_); }

  [[nodiscard]] std::string_view view() const { return text_; }
  [[nodiscard]] bool empty() const { return text_.empty(); }
  [[nodiscard]] std::size_t size() const { return text_.size(); }

 private:
  std::string text_;
};

}  // namespace postern::net::users
