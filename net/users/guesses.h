// The passwords that an attacker tries first for an account: what people make of their name, their domain, the season
// and the keyboard.
//
// Pure: the year is an argument. Thread: any.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace postern::net::users {

// The likeliest first, no two the same, at most `count`; there are some 4,000. `words`: domains and host name.
[[nodiscard]] std::vector<std::string> likely_passwords(std::string_view user, std::span<const std::string> words,
                                                        int year, std::size_t count);

// "anna.meier@example.net" gives itself, anna, meier, example, net: whole and parts between what is neither letter nor
// digit, of three octets at least.
[[nodiscard]] std::vector<std::string> words_of(std::string_view text);

}  // namespace postern::net::users
