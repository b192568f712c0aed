// zxcvbn (Wheeler, USENIX Security 2016) in words.
#include "net/users/password_strength.h"

#include <algorithm>
#include <array>
#include <memory>
#include <openssl/mem.h>
#include <zxcvbn.h>

#include "net/users/guesses.h"
#include "net/users/password_hash.h"
#include "policy/unicode_fold.h"

namespace postern::net::users {
namespace {

constexpr std::size_t kJudgedBytesMax = 100;  // more adds nothing but time
constexpr std::size_t kWordsMax = 64;

struct FreeInfo {
  void operator()(ZxcMatch_t* info) const { ZxcvbnFreeInfo(info); }
};

// zxcvbn compares each of them with each part of the password.
void add_words(std::string_view text, std::vector<std::string>& words) {
  for (const std::string& word : words_of(text)) {
    if (words.size() < kWordsMax) words.push_back(word.substr(0, kJudgedBytesMax));
  }
}

std::string_view describe(int type) {
  if ((type & MULTIPLE_MATCH) != 0) return "something repeated";
  switch (type) {
    case DICTIONARY_MATCH:
      return "a dictionary word or a common password";
    case DICT_LEET_MATCH:
      return "a dictionary word or a common password with letters swapped for digits or signs";
    case USER_MATCH:
    case USER_LEET_MATCH:
      return "a part of the account's name, domain or host";
    case REPEATS_MATCH:
      return "something repeated";
    case SEQUENCE_MATCH:
      return "a sequence (abc, 123)";
    case SPATIAL_MATCH:
      return "a row of keys (qwertz, asdf)";
    case DATE_MATCH:
      return "a date";
    case YEAR_MATCH:
      return "a year";
    default:
      return "";
  }
}

// What most of the password consists of, the longest kind first; at most two of them.
std::string habits_in(const ZxcMatch_t* info) {
  struct Habit {
    std::string_view text;
    int length;
  };
  std::vector<Habit> habits;
  for (; info != nullptr; info = info->Next) {
    const std::string_view text = describe(info->Type);
    if (text.empty()) continue;
    const auto same = std::find_if(habits.begin(), habits.end(), [text](const Habit& h) { return h.text == text; });
    if (same == habits.end()) {
      habits.push_back({text, info->Length});
    } else {
      same->length += info->Length;
    }
  }
  std::stable_sort(habits.begin(), habits.end(), [](const Habit& a, const Habit& b) { return a.length > b.length; });
  std::string result;
  for (std::size_t i = 0; i < std::min<std::size_t>(habits.size(), 2); ++i) {
    result.append(i == 0 ? "" : " and ").append(habits[i].text);
  }
  return result;
}

}  // namespace

Strength judge_password(std::string_view password, std::string_view user, std::span<const std::string> words) {
  Strength result;
  std::size_t characters = 0;
  for (std::string_view rest = password; !rest.empty(); ++characters) {
    const char32_t c = policy::take_code_point(rest);
    if (c == 0xffffffff) {
      result.reason = "it is not UTF-8";
      return result;
    }
    if (c < 0x20 || (c >= 0x7f && c < 0xa0)) {
      result.reason = "it has a control character in it, which not every mail program can send";
      return result;
    }
  }
  if (characters < kPasswordCharactersMin) {
    result.reason = "it is too short: at least 8 characters, better 12";
    return result;
  }
  if (password.size() > kPasswordBytesMax) {
    result.reason = "it is too long: at most 511 octets";
    return result;
  }
  std::vector<std::string> dictionary;
  add_words(user, dictionary);
  for (const std::string& word : words) add_words(word, dictionary);
  std::vector<const char*> pointers;
  for (const std::string& word : dictionary) pointers.push_back(word.c_str());
  pointers.push_back(nullptr);
  std::array<char, kJudgedBytesMax + 1> judged{};
  password.copy(judged.data(), kJudgedBytesMax);
  ZxcMatch_t* info = nullptr;
  result.bits = ZxcvbnMatch(judged.data(), pointers.data(), &info);
  const std::unique_ptr<ZxcMatch_t, FreeInfo> owner(info);
  OPENSSL_cleanse(judged.data(), judged.size());
  result.acceptable = result.bits >= kPasswordBitsMin;
  if (result.acceptable) return result;
  const std::string habits = habits_in(info);
  result.reason =
      habits.empty() ? "it is too easy to guess: make it longer" : "it is easy to guess: it has " + habits + " in it";
  return result;
}

}  // namespace postern::net::users
