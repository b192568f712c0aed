// Answers of name servers: bounded, and what is found is well-formed.
#include <cstdint>

#include "core/assert.h"
#include "net/dns/mail_hosts.h"
#include "net/dns/message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::net::dns;
  for (const RecordType type : {RecordType::a, RecordType::aaaa, RecordType::mx}) {
    const Answer answer = parse_answer({data, size}, type);
    POSTERN_ASSERT(answer.addresses.size() + answer.exchanges.size() <= kRecordsMax);
    POSTERN_ASSERT((answer.status == AnswerStatus::found) == (!answer.addresses.empty() || !answer.exchanges.empty()));
    for (const Exchange& exchange : answer.exchanges) POSTERN_ASSERT(exchange.host.empty() || is_askable(exchange.host));
    if (answer.status != AnswerStatus::found || type != RecordType::mx) continue;
    const MailHosts hosts = choose_mail_hosts(answer, "mail.example.net");
    POSTERN_ASSERT(hosts.hosts.size() <= kMailHostsMax);
    POSTERN_ASSERT((hosts.status == MailHostsStatus::found) == !hosts.hosts.empty());
  }
  return 0;
}
