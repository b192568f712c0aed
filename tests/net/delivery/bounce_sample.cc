// Writes sample notifications into the folder given, one a file, for bounce_mime_check.py.
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "net/delivery/bounce.h"

namespace {

using namespace postern::net;

bool write(const std::string& folder, const std::string& name, const delivery::BounceRequest& request) {
  std::ofstream file(folder + '/' + name, std::ios::binary);
  file << delivery::make_bounce(request).content;
  return file.good();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " FOLDER\n";
    return 2;
  }
  const std::string folder = argv[1];
  const std::string content = "From: ann@example.net\r\nSubject: hello\r\n\r\nfirst line\r\n.second line\r\n";
  const std::string international = "From: ann@example.net\r\nSubject: gr\xc3\xbc\xc3\x9f\r\n\r\nbody\r\n";

  delivery::BounceRecipient failed;
  failed.forward_path = "bob@example.org";
  failed.original = "rfc822;bob+2Bold@example.org";
  failed.status = "5.1.1";
  failed.remote_mta = "mx.example.org";
  failed.code = 550;
  const std::string words = "no such user;\r\n\r\n--boundary\r\nevil: yes " + std::string(400, 'w');
  failed.text = words;
  delivery::BounceRecipient delayed = failed;
  delayed.forward_path =
      "b\xc3\xb6"
      "b@example.org";
  delayed.action = delivery::DsnAction::delayed;
  delayed.status = "4.2.2";
  delayed.code = 452;
  const std::vector<delivery::BounceRecipient> one = {failed};
  const std::vector<delivery::BounceRecipient> two = {failed, delayed};

  delivery::BounceRequest request;
  request.hostname = "mail.example.net";
  request.postmaster = "postmaster@example.net";
  request.queue_id = "Q7";
  request.original_queue_id = "Q3";
  request.now_unix_seconds = 1'795'492'107;
  request.arrival_unix_seconds = 1'795'400'000;
  request.retry_until_unix_seconds = 1'795'900'000;
  request.sender.reverse_path = "ann@example.net";
  request.sender.envelope_id = "id+2B1";
  request.recipients = one;
  request.content = content;
  request.content_bytes = content.size();
  bool good = write(folder, "headers", request);
  request.sender.ret = smtp::DsnReturn::full;
  good = write(folder, "full", request) && good;
  request.recipients = two;
  request.sender.smtputf8 = true;
  request.content = international;
  request.content_bytes = international.size();
  request.content_flags = smtp::content_eight_bit_header;
  good = write(folder, "international", request) && good;
  return good ? 0 : 1;
}
