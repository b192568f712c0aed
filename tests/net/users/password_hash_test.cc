// Password hashes made by other programs (named beside them), damage, bounds, and our own.
#include "net/users/password_hash.h"

#include <chrono>
#include <gtest/gtest.h>
#include <string>
#include <string_view>

#include "net/users/verifiers.h"

namespace postern::net::users {
namespace {

constexpr std::string_view kUmlaut = "p\xc3\xa4ssword: 1=x";
constexpr std::string_view kHorse = "correct horse 7";

struct Vector {
  std::string_view stored;
  std::string_view password;
  std::string_view scheme;  // as describe() names it
  bool is_strong = false;
};

constexpr Vector kVectors[] = {
    // doveadm pw (Dovecot 2.3.19)
    {"{PLAIN}p\xc3\xa4ssword: 1=x", kUmlaut, "PLAIN"},
    {"{CLEARTEXT}p\xc3\xa4ssword: 1=x", kUmlaut, "CLEARTEXT"},
    {"{CRYPT}$2y$05$J8YmkdxbWYO7F8myWF./c.DUgXgkVgr82TH3jOVroT60O6io5.x/G", kUmlaut, "bcrypt"},
    {"{MD5-CRYPT}$1$muY9GyGV$Z21fe5wIHhdqP9CkbMM27.", kUmlaut, "MD5-crypt"},
    {"{SHA256-CRYPT}$5$XOykzO7fV9WbXFuY$/e9JIejLKKADvkEkMHirjwTQoDy4KGM/koWhY/cVmn.", kUmlaut, "SHA-256-crypt"},
    {"{SHA512-CRYPT}$6$bm5yH8MhwZamlIWo$PR/imREWvC.i3VfB8NU3pCejk2b7vfMmRja1yqK7RegskPxwcy2xzcP49aJwZ6AzSUsyvV5m/"
     "9HBiATXPyC2M0",
     kUmlaut, "SHA-512-crypt"},
    {"{BLF-CRYPT}$2y$05$HNL1aPYZtq2.g4nz8EGGCuBk41JJFS1/gl1Fqieda6czVqAg2Izpq", kUmlaut, "bcrypt"},
    {"{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$lkAx91NpkTAXkkf2H/XrFg$fJCy49wjPbZHNPDU1dFvtSO9crMOPMBgh2bMUCNp84A",
     kUmlaut, "Argon2i"},
    {"{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$s5RHWE4G4WBGn2zhmlcnwg$MneeBulCiYK1t5SDTZtT4DEGwVRMcgGkLo6cWe3YbXU",
     kUmlaut, "Argon2id", true},
    {"{SSHA}Llg+4CxF/sAy9GC6KHh5++Ict36yXID5", kUmlaut, "SSHA"},
    {"{SSHA256}68lW6TKQKPbJS6XaXYerSP7p0dHhbEII8o+laDVlDKcXx0OW", kUmlaut, "SSHA256"},
    {"{SSHA512}U0B4WPmvBTgL9IGk1w16xPKKTn81oei1z7qmTPSzIumHExXCH5359iW2Jl+vHYBvCjYPxlfhJDoNlcEnjXTcDLFXTEQ=", kUmlaut,
     "SSHA512"},
    {"{SMD5}NuUjAb6BPbu7y6Vmwv9SOW7mk4k=", kUmlaut, "SMD5"},
    {"{SHA}eAzfDm9AZxcfPerxoPXGSE7uwiw=", kUmlaut, "SHA"},
    {"{SHA1}eAzfDm9AZxcfPerxoPXGSE7uwiw=", kUmlaut, "SHA1"},
    {"{SHA256}KVy8B+aNXVbSC06FBagwvEdbHrxrCelc1qIO+Yh0uUE=", kUmlaut, "SHA256"},
    {"{SHA512}/RvggIfTZy7VRFbcGeIBjeEI91PBdzQVIlD3dQ/6dZUvde1eL1BmTDLQ7zVahAU+FEd0q0amHrfjJO8V46oFjg==", kUmlaut,
     "SHA512"},
    {"{LDAP-MD5}n2opV1zTb6fleHGsXYFAFw==", kUmlaut, "LDAP-MD5"},
    {"{PLAIN-MD5}9f6a29575cd36fa7e57871ac5d814017", kUmlaut, "PLAIN-MD5"},
    {"{PBKDF2}$1$xlJ9B9yRqits6oZh$5000$f823fb29b1755dd5d7459435a917b2926d8d00bd", kUmlaut, "PBKDF2"},
    {"{PBKDF2}$1$SBf4MC21GX8YhgCA$1000$4860e24106acc56746e8536a9466023510e7830a", "x", "PBKDF2"},
    {"{SCRAM-SHA-1}4096,9lty7qLWTqiftAS8ge4d8A==,0G/jU5NuMnqPmFdGKsGs/miRnis=,OHCRiG/zX8ZzapIOX3EV6rVHseQ=", kUmlaut,
     "SCRAM-SHA-1"},
    {"{SCRAM-SHA-256}4096,z9/NogJzC0+6jOj3m2+9Sw==,vUFSEtKnEo9PhxbhaF3e6EavlHxY/f2YMbz+sOUH0Is=,"
     "4Fj/4/m9iXhH3kiwsQSaFR+5y8b5oTNWjSJzV+bZ9QI=",
     kUmlaut, "SCRAM-SHA-256"},
    {"{CRAM-MD5}7afbc90aa523d057e35f76847479fab2a7d50d25a14affb0359214417603312a", kUmlaut, "CRAM-MD5"},
    {"{HMAC-MD5}7afbc90aa523d057e35f76847479fab2a7d50d25a14affb0359214417603312a", kUmlaut, "HMAC-MD5"},
    {"{SHA256.HEX}295cbc07e68d5d56d20b4e8505a830bc475b1ebc6b09e95cd6a20ef98874b941", kUmlaut, "SHA256"},
    {"{SHA256.b64}KVy8B+aNXVbSC06FBagwvEdbHrxrCelc1qIO+Yh0uUE=", kUmlaut, "SHA256"},
    {"{ssha256.hex}e23ea266d972aa8a00fa50b71a4b9f6349ab17ac1a3440a01a71816c91cb013f9c8da7f5", kUmlaut, "SSHA256"},
    {"{SHA.HEX}780cdf0e6f4067171f3deaf1a0f5c6484eeec22c", kUmlaut, "SHA"},
    {"{SHA}780cdf0e6f4067171f3deaf1a0f5c6484eeec22c", kUmlaut, "SHA"},  // hexadecimal by its length
    {"{PLAIN.B64}cMOkc3N3b3JkOiAxPXg=", kUmlaut, "PLAIN"},
    {"{PLAIN.HEX}70c3a47373776f72643a20313d78", kUmlaut, "PLAIN"},
    {"{CRAM-MD5.B64}evvJCqUj0FfjX3aEdHn6sqfVDSWhSv+wNZIUQXYDMSo=", kUmlaut, "CRAM-MD5"},
    {"{SSHA512.B64}we4CuAkGhYpKKkIrAsCVrdv+qrH2GG4yqtruFsyX6lCTROuuo2ekqMHKCjD4jVqFYElxleS4Bc1ynkBljKTEo+wJ+mI=",
     kUmlaut, "SSHA512"},
    {"{PLAIN-MD5.B64}n2opV1zTb6fleHGsXYFAFw==", kUmlaut, "PLAIN-MD5"},
    {"{BLF-CRYPT}$2y$12$GJR74leS5l.WUy/vcVsvr.h0mtKcETRtMMOr09ynOv3b9GzFhrIdK", "x", "bcrypt", true},
    // htpasswd (Apache 2.4)
    {"$2y$05$DIdgqM64t96TFhBKT.iNKuzYqJ2/ErPwN1gLK.F66XBvagh6pW3.q", kHorse, "bcrypt"},
    {"$5$Zs30.BcyitjolSGr$Mynf8/LpofVuzXKvTyCEDqgtSdRmwVhNP7.4KF4.r19", kHorse, "SHA-256-crypt"},
    {"$6$Z/.dPp1J9PfT0KFm$V1vek0s6DXSQqp1wcAuY554jq2vdk/JczhBvFNWWf1qQkOS8h730UxDzwqKo7DS7irVvFP7U82QCUIcv7d/oI1",
     kHorse, "SHA-512-crypt"},
    {"{SHA}4DMkbUWC5+z+kdxI7HpWtce8VNQ=", kHorse, "SHA"},
    // mkpasswd (whois 5.5.17)
    {"$y$j9T$2iDAUwTLbuEznR2qiQ1Ss/$UYgO/C4Xs.mBZM3X3/PobahswQ9u3n0Me9X8r9sg2a8", kHorse, "yescrypt", true},
    {"$y$jAT$dcLEV5Sv/BzmJnMgK1euR0$XYHDtSyMuBtjhhLom5gL6zwg9jKbg2MyxRz7psy6bq6", kHorse, "yescrypt", true},
    {"$y$j75$k2XAnEHBqQ1Ct2aMXFKNa/HAmA1BpMnBsYHMWB4NZN4$nzFLURi18E1A2dwI8x0Xdh1mpGZbLm2vbrhAf7U2vFD", "password",
     "yescrypt"},  // libxcrypt's lowest cost
    {"$gy$j9T$amWHgrhKrOQr.ZnP6p1/1/$dwx4PHWi4cC2K2WW9a2jtVfmiPHc8JZClFg5a3Vf46A", kHorse, "gost-yescrypt", true},
    {"$7$CU..../....Ap6XBQcMVCzj7SZEtaHZG/$iYjv8S6Xbf4TKlJiJH8qwy9i1W/rsevUG/ZnaPqJLU1", kHorse, "scrypt", true},
    {"$2b$05$P9/Or3UxjvUff0DSOnP9Eeq/tNtmvpvt35bRZTY97394PKkbVjeT6", kHorse, "bcrypt"},
    {"$2a$05$vR9LHxqdTh2eYgbKCqQT/O.Oi1/mmzQFibFS7I2ZjtNmCYg4VT0Ia", kHorse, "bcrypt"},
    {"$6$NJbyhiHsrx/fi9As$RU6dNT9H.mcSL5AMa9RW.Mdp9YyAdPBjomp7p29TV7xaxOvYlatUcNIQAKFhNRNB2sH3ysKDP/eFWblbQuITe1",
     kHorse, "SHA-512-crypt"},
    {"$6$rounds=100000$tECBR0d6Cxfz9X1h$qurBBFmJQKQIKyImzJeL0am8eQ3YJFb1OFDjuwCgAsj0EoK5gpMVJS4NDnM5wL0e7mR3eHqeOq0HZ/"
     "LxnhfYK/",
     kHorse, "SHA-512-crypt", true},
    {"$5$rounds=100000$pvAPzMcYwaSZE3uk$VW38Ym.aCCap6a2tlp/fNcNwFRhiHXMU0gNxc1fJ427", kHorse, "SHA-256-crypt", true},
    {"$1$.PH7jYYv$5ZZJzZFhRCBjJplkTHTc..", kHorse, "MD5-crypt"},
    // argon2 (the reference program)
    {"$argon2id$v=19$m=16384,t=2,p=2$c2FsdHNhbHRzYWx0$Q7WBuQ9iZQzh3Fyt9EoDAOWsu5VXIrCs3CGciAQ8w8E", kHorse, "Argon2id"},
    {"$argon2i$v=19$m=4096,t=3,p=1$c2FsdHNhbHRzYWx0$FbZWNfJAKHa0PmZBtKTygKA0MiPcwkbH9g1nXBiVaAY", kHorse, "Argon2i"},
    {"{CRYPT}$argon2id$v=19$m=16384,t=2,p=2$c2FsdHNhbHRzYWx0$Q7WBuQ9iZQzh3Fyt9EoDAOWsu5VXIrCs3CGciAQ8w8E", kHorse,
     "Argon2id"},
    // Python 3.11's crypt, openssl passwd
    {"$6$rounds=7777$OuUGi9nbbUnonWYM$6hlheFkyqzXdyb6MYhhzVQzazUFEni3UoIUKF."
     "B4A3zNaBoYff6ZTqdYIgaNCMcVEEG1lhZ6zSrRpD7hjNjdU1",
     kHorse, "SHA-512-crypt"},
    {"$2b$06$HHj1OysA/GX/s6Xok0yOZ.RDcLHtlQMPRKdi9z9BzX0DAFcYfYtni", kHorse, "bcrypt"},
    {"$6$1NOYsCJ2C5T66QJC$1unLUMstCydDuJqLwYphXWJ3zxe2gEUgmpCPZU6DAhnUX8pK1a07QTHugkuokmEW7ncsqbX9ICuZ310dvy9W31",
     kHorse, "SHA-512-crypt"},
    {"$1$Sp9nFSIy$7N9sR7yxIlTrtmuc/EGPL0", kHorse, "MD5-crypt"},
};

TEST(PasswordHash, OfOtherProgramsAreVerified) {
  for (const Vector& vector : kVectors) {
    EXPECT_EQ(verify(vector.stored, vector.password), Match::yes) << vector.stored;
    EXPECT_EQ(verify(vector.stored, "p\xc3\xa4ssword: 1=y"), Match::no) << vector.stored;
  }
}

TEST(PasswordHash, OnlyTheWholePasswordMatches) {
  for (const Vector& vector : kVectors) {
    EXPECT_EQ(verify(vector.stored, ""), Match::no) << vector.stored;
    EXPECT_EQ(verify(vector.stored, std::string(vector.password) + " "), Match::no) << vector.stored;
    EXPECT_EQ(verify(vector.stored, std::string(vector.password) + std::string(1, '\0')), Match::no) << vector.stored;
    EXPECT_EQ(verify(vector.stored, std::string(vector.password) + std::string(1, '\0') + "x"), Match::no);
    EXPECT_EQ(verify(vector.stored, std::string(kPasswordBytesMax + 1, 'x')), Match::no) << vector.stored;
  }
}

TEST(PasswordHash, AreDescribedAndJudged) {
  for (const Vector& vector : kVectors) {
    const auto described = describe(vector.stored);
    ASSERT_TRUE(described) << vector.stored << ": " << described.error();
    EXPECT_EQ(described->scheme, vector.scheme) << vector.stored;
    EXPECT_EQ(needs_rehash(vector.stored), !vector.is_strong) << vector.stored;
    const bool is_plain = vector.scheme == "PLAIN" || vector.scheme == "CLEARTEXT";
    EXPECT_EQ(described->plaintext, is_plain) << vector.stored;
    EXPECT_EQ(plaintext_of(vector.stored).view(), is_plain ? vector.password : "") << vector.stored;
  }
  EXPECT_EQ(describe("$y$j9T$2iDAUwTLbuEznR2qiQ1Ss/$UYgO/C4Xs.mBZM3X3/PobahswQ9u3n0Me9X8r9sg2a8")->cost, "N=4096 r=32");
  EXPECT_EQ(describe("$7$CU..../....Ap6XBQcMVCzj7SZEtaHZG/$iYjv8S6Xbf4TKlJiJH8qwy9i1W/rsevUG/ZnaPqJLU1")->cost,
            "N=16384 r=32");
  EXPECT_EQ(
      describe("$y$j75$k2XAnEHBqQ1Ct2aMXFKNa/HAmA1BpMnBsYHMWB4NZN4$nzFLURi18E1A2dwI8x0Xdh1mpGZbLm2vbrhAf7U2vFD")->cost,
      "N=1024 r=8");
  EXPECT_EQ(describe("$2b$06$HHj1OysA/GX/s6Xok0yOZ.RDcLHtlQMPRKdi9z9BzX0DAFcYfYtni")->cost, "cost=6");
}

// A hash that lost, gained or changed an octet never matches and never crashes.
TEST(PasswordHash, DamagedOnesMatchNothing) {
  for (const Vector& vector : kVectors) {
    if (vector.is_strong || vector.stored.find("argon2") != std::string_view::npos)
      continue;  // slow, and covered below
    if (!plaintext_of(vector.stored).empty()) continue;
    const std::string stored(vector.stored);
    const std::string_view fast = vector.stored;
    const std::size_t step = fast.find('$') == std::string_view::npos ? 1 : 7;
    for (std::size_t cut = 0; cut < stored.size(); cut += step) {
      EXPECT_NE(verify(stored.substr(0, cut), vector.password), Match::yes) << stored.substr(0, cut);
    }
    EXPECT_NE(verify(stored + "x", vector.password), Match::yes) << stored;
    EXPECT_NE(verify(stored + stored, vector.password), Match::yes) << stored;
  }
  for (const std::string_view damaged : {"",
                                         "{",
                                         "}",
                                         "{}",
                                         "{SSHA",
                                         "{SSHA}",
                                         "{SSHA}!",
                                         "{NOSUCH}x",
                                         "{SHA256.oct}x",
                                         "{PLAIN}",
                                         "{SHA}AAAA",
                                         "{CRAM-MD5}00",
                                         "{PBKDF2}",
                                         "{PBKDF2}$1$",
                                         "{PBKDF2}$1$salt$0$f823fb29b1755dd5d7459435a917b2926d8d00bd",
                                         "{PBKDF2}$1$salt$-1$f823fb29b1755dd5d7459435a917b2926d8d00bd",
                                         "{PBKDF2}$2$salt$1$f823",
                                         "x",
                                         "*",
                                         "!",
                                         "*0",
                                         "$",
                                         "$y$",
                                         "$y$j9T$",
                                         "$y$j9T$salt$",
                                         "$y$$$",
                                         "$2b$",
                                         "$2b$05$",
                                         "$6$",
                                         "$6$salt$",
                                         "$6$rounds=$salt$",
                                         "$7$",
                                         "$1$",
                                         "$argon2id$",
                                         "$argon2id$v=19$m=,t=,p=$$",
                                         "$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$x",
                                         "{SHA512-CRYPT}$1$.PH7jYYv$5ZZJzZFhRCBjJplkTHTc..",
                                         "{SCRAM-SHA-256}4096,,,",
                                         "igSKGSU8saL3o"}) {
    EXPECT_EQ(verify(damaged, "x"), Match::unsupported) << damaged;
    EXPECT_FALSE(describe(damaged)) << damaged;
    EXPECT_TRUE(needs_rehash(damaged)) << damaged;
  }
}

// What would take minutes or gigabytes is told from its text, and takes no time.
TEST(PasswordHash, OverTheBoundsAreNotExecuted) {
  const std::string sixty_four(86, 'a');
  const std::string digest(43, 'a');
  const std::string costly[] = {
      "$y$jKT$salt$" + digest,          // 2^23 * 32 * 128: 32 GiB
      "$y$jET$salt$" + digest,          // 512 MiB
      "$y$jzzzzzzzzzz$salt$" + digest,  // numbers beyond all
      "$y$j9T/zzz$salt$" + digest,
      "$7$EU..../....salt$" + digest,  // 65536 * 32: 256 MiB fits, F is twice that
      "$7$FU..../....salt$" + digest,
      "$7$zzzzzzzzzzzzsalt$" + digest,
      "$2b$16$" + std::string(53, 'a'),
      "$2b$31$" + std::string(53, 'a'),
      "$2b$99$" + std::string(53, 'a'),
      "$6$rounds=1000001$salt$" + sixty_four,
      "$6$rounds=999999999$salt$" + sixty_four,
      "$6$rounds=99999999999999999999$salt$" + sixty_four,
      "$5$rounds=5000000$salt$" + digest,
      "{ARGON2ID}$argon2id$v=19$m=1048576,t=4,p=1$+K5eL9NQFKcS5DKko0H0hw$b09Ps7DaT3XifcG9lXgyS//1k7npp4Q3SCyMVRnRv7g",
      "$argon2id$v=19$m=65536,t=65,p=1$s5RHWE4G4WBGn2zhmlcnwg$MneeBulCiYK1t5SDTZtT4DEGwVRMcgGkLo6cWe3YbXU",
      "$argon2id$v=19$m=65536,t=4294967295,p=1$s5RHWE4G4WBGn2zhmlcnwg$MneeBulCiYK1t5SDTZtT4DEGwVRMcgGkLo6cWe3YbXU",
      "$argon2id$v=19$m=65536,t=3,p=4096$s5RHWE4G4WBGn2zhmlcnwg$MneeBulCiYK1t5SDTZtT4DEGwVRMcgGkLo6cWe3YbXU",
      "{PBKDF2}$1$xlJ9B9yRqits6oZh$4000001$f823fb29b1755dd5d7459435a917b2926d8d00bd",
      "{SCRAM-SHA-1}9000000,9lty7qLWTqiftAS8ge4d8A==,0G/jU5NuMnqPmFdGKsGs/miRnis=,OHCRiG/zX8ZzapIOX3EV6rVHseQ=",
  };
  const auto begin = std::chrono::steady_clock::now();
  for (const std::string& stored : costly) {
    if (stored.starts_with("$7$E")) continue;
    EXPECT_EQ(verify(stored, "x"), Match::unsupported) << stored;
    EXPECT_FALSE(describe(stored)) << stored;
  }
  // One of them executed would take minutes.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  EXPECT_EQ(describe("$7$EU..../....salt$" + digest)->cost, "N=65536 r=32");
  EXPECT_EQ(describe("$6$rounds=1000000$salt$" + sixty_four)->cost, "rounds=1000000");
}

TEST(PasswordHash, WeMakeOnesThatVerify) {
  for (const std::string_view password : {"x", "correct horse 7", "p\xc3\xa4ssw\xc3\xb6rd"}) {
    const auto made = make(password);
    ASSERT_TRUE(made) << made.error();
    EXPECT_TRUE(made->view().starts_with("$y$j9T$")) << made->view();
    EXPECT_EQ(verify(made->view(), password), Match::yes);
    EXPECT_EQ(verify(made->view(), std::string(password) + "x"), Match::no);
    EXPECT_FALSE(needs_rehash(made->view()));
  }
  EXPECT_NE(make("x")->view(), make("x")->view());  // salted
  const std::string longest(kPasswordBytesMax, 'x');
  EXPECT_EQ(verify(make(longest)->view(), longest), Match::yes);
  EXPECT_EQ(verify(make(longest)->view(), longest.substr(1)), Match::no);
  EXPECT_FALSE(make(""));
  EXPECT_FALSE(make(longest + "x"));
  EXPECT_FALSE(make(std::string_view("a\0b", 3)));
}

// One password, two keyboards: an a with diaeresis in one code point and in two (RFC 4013).
TEST(PasswordHash, OnePasswordHoweverItsAccentsAreEncoded) {
  const std::string_view one = "p\xc3\xa4ssword";
  const std::string_view two = "pa\xcc\x88ssword";
  EXPECT_EQ(verify(make(one)->view(), two), Match::yes);
  EXPECT_EQ(verify(make(two)->view(), one), Match::yes);
  // An imported hash is of what was typed there, prepared or not.
  const std::string_view decomposed = "{PLAIN}pa\xcc\x88ssword";
  EXPECT_EQ(verify(decomposed, two), Match::yes);
  EXPECT_EQ(verify("{PLAIN}\xff\xfe", "\xff\xfe"), Match::yes);  // not even UTF-8
}

TEST(PasswordHash, BurningTakesTheTimeOfAVerify) {
  const std::string_view slow = "{BLF-CRYPT}$2y$12$GJR74leS5l.WUy/vcVsvr.h0mtKcETRtMMOr09ynOv3b9GzFhrIdK";
  const auto seconds_of = [](const auto& work) {
    // The least of three: what else the machine does only adds.
    std::chrono::duration<double> least(1e9);
    for (int i = 0; i < 3; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      work();
      least = std::min<std::chrono::duration<double>>(least, std::chrono::steady_clock::now() - begin);
    }
    return least.count();
  };
  const double verified = seconds_of([&] { (void)verify(slow, "wrong"); });
  const double burnt = seconds_of([&] { burn(slow, "wrong"); });
  const double made = seconds_of([&] { (void)make("wrong"); });
  const double burnt_default = seconds_of([&] { burn("", "wrong"); });
  EXPECT_GT(burnt, verified / 3);
  EXPECT_LT(burnt, verified * 3);
  EXPECT_GT(burnt_default, made / 3);
  EXPECT_LT(burnt_default, made * 3);
  // What cannot be executed is no way to tell a name either.
  EXPECT_GT(seconds_of([&] { burn("{NOSUCH}x", "wrong"); }), made / 3);
}

TEST(Verifiers, AreThoseThatWereAskedFor) {
  const Verifiers usual = derive_verifiers("correct horse 7", {});
  EXPECT_TRUE(usual.scram_sha_256.view().starts_with("100000,"));
  EXPECT_TRUE(usual.scram_sha_1.empty());
  EXPECT_TRUE(usual.cram_md5.empty());
  EXPECT_EQ(verify("{SCRAM-SHA-256}" + std::string(usual.scram_sha_256.view()), "correct horse 7"), Match::yes);
  EXPECT_EQ(verify("{SCRAM-SHA-256}" + std::string(usual.scram_sha_256.view()), "correct horse 8"), Match::no);
  const Verifiers all =
      derive_verifiers("correct horse 7", {.scram_sha_256 = true, .scram_sha_1 = true, .cram_md5 = true});
  EXPECT_NE(all.scram_sha_256.view(), usual.scram_sha_256.view());  // its own salt
  EXPECT_EQ(verify("{SCRAM-SHA-1}" + std::string(all.scram_sha_1.view()), "correct horse 7"), Match::yes);
  EXPECT_EQ(verify("{CRAM-MD5}" + std::string(all.cram_md5.view()), "correct horse 7"), Match::yes);
  EXPECT_TRUE(derive_verifiers("a\x01z", {}).scram_sha_256.empty());  // SASLprep refuses controls
}

TEST(Verifiers, AreTakenOverFromHashesThatAreSome) {
  const std::string_view keys =
      "4096,z9/NogJzC0+6jOj3m2+9Sw==,vUFSEtKnEo9PhxbhaF3e6EavlHxY/f2YMbz+sOUH0Is=,"
      "4Fj/4/m9iXhH3kiwsQSaFR+5y8b5oTNWjSJzV+bZ9QI=";
  EXPECT_EQ(verifiers_of_hash("{SCRAM-SHA-256}" + std::string(keys), {}).scram_sha_256.view(), keys);
  EXPECT_TRUE(verifiers_of_hash("{SCRAM-SHA-256}" + std::string(keys), {}).scram_sha_1.empty());
  const std::string_view cram = "7afbc90aa523d057e35f76847479fab2a7d50d25a14affb0359214417603312a";
  EXPECT_TRUE(verifiers_of_hash("{CRAM-MD5}" + std::string(cram), {}).cram_md5.empty());
  EXPECT_EQ(verifiers_of_hash("{CRAM-MD5}" + std::string(cram), {.cram_md5 = true}).cram_md5.view(), cram);
  EXPECT_TRUE(verifiers_of_hash("{SSHA}Llg+4CxF/sAy9GC6KHh5++Ict36yXID5", {.cram_md5 = true}).cram_md5.empty());
}

}  // namespace
}  // namespace postern::net::users
