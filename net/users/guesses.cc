#include "net/users/guesses.h"

#include <algorithm>
#include <fmt/format.h>
#include <unordered_set>

namespace postern::net::users {
namespace {

constexpr std::size_t kWordBytesMin = 3;  // shorter ones are in everything
constexpr int kYears = 15;                // back from this one; people are slow to change passwords

// What is on every list of leaked passwords, in several languages.
constexpr std::string_view kCommon[] = {
    "123456",     "password",   "123456789", "12345678", "qwerty",   "12345",    "111111",   "abc123",   "1234567",
    "1q2w3e4r",   "passwort",   "hallo",     "letmein",  "welcome",  "admin",    "iloveyou", "dragon",   "monkey",
    "master",     "login",      "secret",    "geheim",   "schatz",   "football", "baseball", "sunshine", "princess",
    "superman",   "batman",     "shadow",    "michael",  "ashley",   "charlie",  "hello",    "freedom",  "whatever",
    "trustno1",   "starwars",   "pokemon",   "computer", "internet", "changeme", "default",  "test",     "guest",
    "mail",       "email",      "server",    "service",  "support",  "info",     "office",   "soleil",   "bonjour",
    "motdepasse", "contrasena", "hola",      "amore",    "ciao",     "123123",   "654321",   "666666",   "000000",
    "121212",     "1234567890", "987654321", "a123456",  "asdf1234", "qwer1234", "zaq12wsx"};

constexpr std::string_view kSeasons[] = {
    "spring", "summer", "autumn", "fall",      "winter",  "january",  "february", "march",     "april",  "may",
    "june",   "july",   "august", "september", "october", "november", "december", "fruehling", "sommer", "herbst",
    "januar", "maerz",  "mai",    "juni",      "juli",    "oktober",  "dezember", "ete",       "hiver",  "verano"};

// Rows of keyboards, and the slanted columns.
constexpr std::string_view kRows[] = {"qwertyuiop",   "qwertzuiop",   "azertyuiop",   "asdfghjkl",
                                      "zxcvbnm",      "yxcvbnm",      "1234567890",   "1qaz2wsx3edc",
                                      "q1w2e3r4t5y6", "1q2w3e4r5t6y", "zaq1xsw2cde3", "qazwsxedc"};

constexpr std::string_view kTails[] = {"",     "1",  "123", "!",    "12",   "1234",  "12345", "123456", "1!",
                                       "123!", "01", "007", "2",    "11",   "69",    "99",    "00",     "@1",
                                       "#1",   "?",  ".",   "123#", "@123", "1234!", "_1",    "-1"};

// Gathers without repeating, up to a limit.
class Gathering {
 public:
  explicit Gathering(std::size_t count) : count_(count) {}
  void add(std::string text) {
    if (result_.size() >= count_ || text.empty() || !seen_.insert(text).second) return;
    result_.push_back(std::move(text));
  }
  [[nodiscard]] bool is_full() const { return result_.size() >= count_; }
  std::vector<std::string> take() { return std::move(result_); }

 private:
  std::size_t count_;
  std::unordered_set<std::string> seen_;
  std::vector<std::string> result_;
};

std::string capitalised(std::string_view word) {
  std::string result(word);
  if (!result.empty() && result[0] >= 'a' && result[0] <= 'z') result[0] = static_cast<char>(result[0] - 32);
  return result;
}

std::string upper(std::string_view word) {
  std::string result(word);
  for (char& c : result) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return result;
}

std::string with_digits_for_letters(std::string_view word, bool signs) {
  std::string result(word);
  for (char& c : result) {
    c = c == 'a'   ? (signs ? '@' : '4')
        : c == 'e' ? '3'
        : c == 'i' ? '1'
        : c == 'o' ? '0'
        : c == 's' ? (signs ? '$' : '5')
                   : c;
  }
  return result;
}

// A word as people dress it up: capital, years, digits and signs behind it, letters swapped.
void add_dressed(Gathering& all, const std::string& word, int year) {
  const std::string dressed[] = {word, capitalised(word)};
  for (const std::string_view tail : kTails) {
    for (const std::string& form : dressed) all.add(form + std::string(tail));
  }
  for (int back = 0; back < kYears; ++back) {
    for (const std::string& form : dressed) {
      all.add(fmt::format("{}{}", form, year - back));
      all.add(fmt::format("{}{}!", form, year - back));
      all.add(fmt::format("{}{:02}", form, (year - back) % 100));
    }
  }
  all.add(upper(word));
  for (const bool signs : {true, false}) {
    const std::string swapped = with_digits_for_letters(word, signs);
    for (const std::string_view tail : {"", "1", "123", "!"}) {
      all.add(swapped + std::string(tail));
      all.add(capitalised(swapped) + std::string(tail));
    }
  }
  all.add(std::string(word.rbegin(), word.rend()));
  all.add(word + word);
}

void add_seasons(Gathering& all, int year, int years) {
  for (int back = 0; back < years; ++back) {
    for (const std::string_view season : kSeasons) {
      for (const std::string_view tail : {"", "!"}) {
        all.add(fmt::format("{}{}{}", capitalised(season), year - back, tail));
        all.add(fmt::format("{}{}{}", season, year - back, tail));
      }
    }
  }
}

void add_keyboard(Gathering& all) {
  for (const std::string_view row : kRows) {
    for (std::size_t length = 4; length <= row.size(); ++length) {
      const std::string walk(row.substr(0, length));
      all.add(walk);
      all.add(capitalised(walk) + "1");
      all.add(walk + "!");
      all.add(std::string(walk.rbegin(), walk.rend()));
    }
  }
  for (const char key : std::string_view("0123456789ax")) {
    for (std::size_t length = 4; length <= 10; ++length) all.add(std::string(length, key));
  }
  for (const std::string_view pair : {"12", "123", "abc", "qwe", "asd"}) {
    all.add(std::string(pair) + std::string(pair));
    all.add(std::string(pair) + std::string(pair) + std::string(pair));
  }
}

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  const auto is_word = [](char c) {
    const auto octet = static_cast<unsigned char>(c);
    return (octet >= '0' && octet <= '9') || ((octet | 0x20) >= 'a' && (octet | 0x20) <= 'z') || octet >= 0x80;
  };
  std::vector<std::string> words;
  const auto add = [&words](std::string_view word) {
    if (word.size() >= kWordBytesMin) words.emplace_back(word);
  };
  add(text);
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && is_word(text[end])) ++end;
    if (end > i && end - i < text.size()) add(text.substr(i, end - i));
    i = end + 1;
  }
  return words;
}

std::vector<std::string> likely_passwords(std::string_view user, std::span<const std::string> words, int year,
                                          std::size_t count) {
  Gathering all(count);
  std::vector<std::string> own = words_of(user);
  const std::string_view local_part = user.substr(0, user.find('@'));
  if (local_part.size() >= kWordBytesMin) own.insert(own.begin(), std::string(local_part));
  std::string together;  // "annameier"
  for (const std::string& part : words_of(local_part)) {
    if (part.size() < local_part.size()) together += part;
  }
  if (!together.empty()) own.push_back(together);
  // The very first tries of everybody, then what is this account's own, then the rest.
  for (std::size_t i = 0; i < 20; ++i) all.add(std::string(kCommon[i]));
  for (const std::string& word : own) {
    for (const std::string_view tail : {"", "1", "123", "!", "1234", "12345"}) {
      all.add(word + std::string(tail));
      all.add(capitalised(word) + std::string(tail));
    }
    all.add(fmt::format("{}{}", capitalised(word), year));
    all.add(fmt::format("{}{}", word, year));
  }
  for (const std::string_view word : kCommon) all.add(std::string(word));
  add_seasons(all, year, 2);
  for (const std::string& word : own) add_dressed(all, word, year);
  for (const std::string& text : words) {
    for (const std::string& word : words_of(text)) add_dressed(all, word, year);
  }
  add_keyboard(all);
  add_seasons(all, year, 6);
  for (const std::string_view word : kCommon) {
    if (all.is_full()) break;
    if (word.front() >= 'a') add_dressed(all, std::string(word), year);
  }
  return all.take();
}

}  // namespace postern::net::users
