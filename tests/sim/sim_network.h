// The network around the machine: listeners, connections as byte streams, and the far ends that a test writes.
//
// A test writes a far end as a SimPeer: a client that connects to the machine, or a server (a next hop) that the machine
// connects to. Its callbacks run between the machine's turns and use their SimLink to answer.
//
// What a stream does by chance: arrives late, in pieces, joined; is received in pieces; ends in a reset. What it keeps to,
// as TCP does: order; a close with unread octets resets, and may take the last octets that were on their way with it; a
// send to a peer that closed succeeds once, then there is a reset; a window, so that a slow reader blocks its writer.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/ip_address.h"
#include "core/result.h"

namespace postern::sim {

class SimNetwork;
class SimWorld;
struct SimConnection;
struct SimOperation;
struct SimSocket;

// A far end's view of its connection. A value; every call is harmless once the connection is gone.
class SimLink {
 public:
  SimLink() = default;

  void send(std::string_view bytes);
  void shutdown();  // no more from here; still reads
  void close();     // no callback comes any more
  void reset();
  void pause();  // reads nothing: the machine's sends block when the window is full
  void resume();
  [[nodiscard]] bool is_open() const;
  [[nodiscard]] core::Endpoint local() const;   // of this end
  [[nodiscard]] core::Endpoint remote() const;  // the machine's

 private:
  friend class SimNetwork;
  SimLink(SimNetwork* network, std::uint32_t connection, std::uint8_t side)
      : network_(network), connection_(connection), side_(side) {}
  SimNetwork* network_ = nullptr;
  std::uint32_t connection_ = 0;
  std::uint8_t side_ = 0;
};

// A far end, written by the test. One connection an object.
class SimPeer {
 public:
  virtual ~SimPeer() = default;
  virtual void on_connect(SimLink& link) { static_cast<void>(link); }
  virtual void on_data(SimLink& link, std::string_view bytes) = 0;
  // The other end sends no more (it may still read). By default: closes.
  virtual void on_end(SimLink& link) { link.close(); }
  // The connection broke: a reset, or the machine died. No callback comes any more.
  virtual void on_reset() {}
  // connect() failed with this errno. No callback comes any more.
  virtual void on_refused(int error) { static_cast<void>(error); }
};

class SimNetwork {
 public:
  explicit SimNetwork(SimWorld& world);
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  // --- for tests --------------------------------------------------------------------------------------------------
  // A far client connects; `from` with port 0 gets one.
  void connect(const core::Endpoint& from, const core::Endpoint& to, std::shared_ptr<SimPeer> peer);
  // A far server; a new peer for each connection (nullptr: that connection is reset at once).
  void listen(const core::Endpoint& at, std::function<std::shared_ptr<SimPeer>()> make_peer);
  void stop_listening(const core::Endpoint& at) { far_listeners_.erase(at); }
  // What is sent to this address vanishes: connects end with -ETIMEDOUT.
  void set_silent(const core::IpAddress& address, bool is_silent);
  void set_unreachable(const core::IpAddress& address, bool is_unreachable);
  // True if somebody listens there now.
  [[nodiscard]] bool is_listening(const core::Endpoint& at) const;
  // Connections with at least one end open.
  [[nodiscard]] std::size_t connections() const { return open_connections_; }
  // The address of connections that the machine makes without a source.
  void set_machine_address(const core::IpAddress& address) { machine_address_ = address; }

  // --- for ring_sim -----------------------------------------------------------------------------------------------
  core::Result<int> listen_socket(const core::Endpoint& at);
  core::Result<int> make_socket(const core::Endpoint& target, const core::Endpoint* source);
  std::optional<core::Endpoint> peer_name(int socket);
  std::optional<core::Endpoint> local_name(int socket);

  // === for the world ==============================================================================================
  void submit(SimOperation& operation);
  void execute(SimOperation& operation);
  void cancel(SimOperation& operation);
  void forget(SimOperation& operation);
  void close_socket(SimSocket& socket);
  void let_machine_die();

 private:
  friend class SimLink;
  SimSocket* socket_of(std::int32_t descriptor);
  SimConnection* connection(std::uint32_t number);
  SimSocket* find_listener(const core::Endpoint& to);
  SimConnection& make_connection(const core::Endpoint& from, const core::Endpoint& to);
  int why_not_connected(const core::Endpoint& to, bool& takes_long);
  void connect_machine(SimOperation& operation);
  void connect_far(const core::Endpoint& from, const core::Endpoint& to, const std::shared_ptr<SimPeer>& peer);
  void try_accept(SimSocket& listener);
  void push(SimConnection& connection, std::uint8_t writer, std::string_view bytes);
  void push_end(SimConnection& connection, std::uint8_t writer);
  void schedule_arrival(SimConnection& connection, std::uint8_t writer, std::int64_t at, std::uint64_t octets_or_end);
  void arrive(std::uint32_t number, std::uint8_t writer, std::uint64_t octets, bool end);
  void deliver(SimConnection& connection, std::uint8_t reader);
  void deliver_later(SimConnection& connection, std::uint8_t reader);
  void deliver_to_socket(SimConnection& connection, std::uint8_t reader);
  void deliver_to_peer(SimConnection& connection, std::uint8_t reader);
  void consumed(SimConnection& connection, std::uint8_t writer);
  void execute_send(SimOperation& operation);
  void reset_end(SimConnection& connection, std::uint8_t side);
  void reset_later(SimConnection& connection, std::uint8_t side);
  void leave(SimConnection& connection, std::uint8_t side, bool with_reset);
  void drop_if_over(SimConnection& connection);
  void check_polls(SimSocket& socket);
  std::uint32_t poll_mask(SimSocket& socket);
  SimSocket* add_socket(std::int32_t& descriptor);  // nullptr, and -errno in `descriptor`

  SimWorld& world_;
  std::vector<std::unique_ptr<SimConnection>> connections_;
  std::size_t open_connections_ = 0;
  std::vector<SimSocket*> listeners_;  // of the machine, in order of creation
  std::map<core::Endpoint, std::function<std::shared_ptr<SimPeer>()>> far_listeners_;
  std::set<core::IpAddress> silent_;
  std::set<core::IpAddress> unreachable_;
  core::IpAddress machine_address_;
  std::uint16_t next_port_ = 32'768;
};

}  // namespace postern::sim
