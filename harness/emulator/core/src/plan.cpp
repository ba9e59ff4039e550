#include "plan.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <stdexcept>

#include "threads.h"

namespace edgefarm {
namespace {

constexpr int64_t kLine = 64;                  // bytes of a cache line
constexpr int64_t kGroupBytes = 768 << 10;     // of a thread's arena: within a second-level cache
constexpr int64_t kWorthAThread = 1 << 18;     // work below which waking a thread does not pay

void require(bool holds, const char* message) {
  if (!holds) throw std::invalid_argument(message);
}

// The arena of a thread, kept between calls.
uint8_t* arena(int64_t size) {
  thread_local std::vector<uint8_t> bytes;
  if ((int64_t)bytes.size() < size + kLine) {
    bytes.clear();  // nothing in it is worth copying
    bytes.resize((size_t)(size + kLine));
  }
  return (uint8_t*)(((uintptr_t)bytes.data() + kLine - 1) / kLine * kLine);
}

// A slot that lives in the arena from the link that fills it to the last that reads it.
struct Life {
  int slot;
  int first, last;
  int64_t size;
};

bool overlap(const Life& a, const Life& b) {
  return a.first <= b.last && b.first <= a.last;
}

}  // namespace

Plan::Plan(std::vector<Link> links, std::vector<int64_t> sizes, std::vector<int> takes,
           std::vector<int> gives)
    : links_(std::move(links)),
      sizes_(std::move(sizes)),
      takes_(std::move(takes)),
      gives_(std::move(gives)) {
  check();
  place();
  for (const Link& link : links_) {
    const int64_t size = sizes_[(size_t)link.output], own = link.kernels.front()->out_size();
    factors_.push_back(own ? size / own : 1);
    for (const Kernel* kernel : link.kernels) work_ += kernel->work(size);
  }
}

void Plan::check() const {
  require(!links_.empty(), "a plan has at least one link");
  const int slots = (int)sizes_.size();
  const auto exists = [&](int slot) { return slot >= 0 && slot < slots; };
  for (int64_t size : sizes_) {
    require(size >= 1 && size < int64_t{1} << 40, "a slot's size is not within 1 to 2^40");
  }
  std::vector<char> filled((size_t)slots, 0);
  for (int slot : takes_) {
    require(exists(slot) && !filled[(size_t)slot], "a plan takes a slot once");
    filled[(size_t)slot] = 1;
  }
  std::vector<char> taken = filled;
  for (const Link& link : links_) {
    require(!link.kernels.empty(), "a link has at least one kernel");
    require(exists(link.output) && !filled[(size_t)link.output], "a link fills a slot of its own");
    for (int slot : link.inputs) {
      require(exists(slot) && filled[(size_t)slot], "a link takes what is filled before it");
    }
    for (const Kernel* kernel : link.kernels) check(link, kernel);
    filled[(size_t)link.output] = 1;
  }
  std::vector<char> given((size_t)slots, 0);
  for (int slot : gives_) {
    require(exists(slot) && filled[(size_t)slot] && !taken[(size_t)slot] && !given[(size_t)slot],
            "a plan gives what a link fills, once");
    given[(size_t)slot] = 1;
  }
}

// A kernel's own items: as many in the output's slot as in those that it takes.
void Plan::check(const Link& link, const Kernel* kernel) const {
  require(kernel != nullptr, "a link has a kernel that is none");
  require(kernel->inputs() == (int)link.inputs.size(), "a kernel has another number of inputs");
  require(kernel->output_type() == link.kernels.front()->output_type() &&
              kernel->out_size() == link.kernels.front()->out_size(),
          "the kernels of a link give different things");
  const int64_t out_size = sizes_[(size_t)link.output], own = kernel->out_size();
  require(own == 0 || out_size % own == 0, "a link does not give what its slot holds");
  for (int i = 0; i < kernel->inputs(); ++i) {
    const int slot = link.inputs[(size_t)i];
    const int64_t wanted = own ? out_size / own * kernel->in_size(i) : out_size;
    require(wanted == sizes_[(size_t)slot], "a link does not take what the one before it gives");
    const Type has = type_of(slot), wants = kernel->input_type();
    require(has == Type::kAny || wants == Type::kAny || has == wants,
            "a link takes elements of another type");
  }
}

Type Plan::type_of(int slot) const {
  for (const Link& link : links_) {
    if (link.output == slot) return link.kernels.front()->output_type();
  }
  for (const Link& link : links_) {
    if (std::count(link.inputs.begin(), link.inputs.end(), slot) == 0) continue;
    if (const Type wants = link.kernels.front()->input_type(); wants != Type::kAny) return wants;
  }
  return Type::kAny;
}

// Greedy by size: the largest first, each at the lowest offset that is free while it lives.
void Plan::place() {
  offsets_.assign(sizes_.size(), -1);
  std::vector<Life> lives;
  for (int i = 0; i < (int)links_.size(); ++i) {
    const int slot = links_[(size_t)i].output;
    if (std::count(gives_.begin(), gives_.end(), slot)) continue;
    lives.push_back({slot, i, i, (sizes_[(size_t)slot] + kLine - 1) / kLine * kLine});
  }
  for (Life& life : lives) {
    for (int i = life.first; i < (int)links_.size(); ++i) {
      const auto& inputs = links_[(size_t)i].inputs;
      if (std::count(inputs.begin(), inputs.end(), life.slot)) life.last = i;
    }
  }
  std::stable_sort(lives.begin(), lives.end(),
                   [](const Life& a, const Life& b) { return a.size > b.size; });
  std::vector<Life> placed;
  for (const Life& life : lives) {
    std::vector<std::pair<int64_t, int64_t>> busy;  // first byte, one past the last
    for (const Life& other : placed) {
      const int64_t at = offsets_[(size_t)other.slot];
      if (overlap(life, other)) busy.push_back({at, at + other.size});
    }
    std::sort(busy.begin(), busy.end());
    int64_t at = 0;
    for (const auto& [first, end] : busy) {
      if (at + life.size <= first) break;
      at = std::max(at, end);
    }
    offsets_[(size_t)life.slot] = at;
    arena_bytes_ = std::max(arena_bytes_, at + life.size);
    placed.push_back(life);
  }
}

bool Plan::run_group(const std::vector<const uint8_t*>& in, const std::vector<uint8_t*>& out,
                     int64_t first, int64_t items, int threads, int64_t* ns) const {
  uint8_t* const memory = arena(arena_bytes_ * items);
  std::vector<uint8_t*> at(sizes_.size(), nullptr);
  for (size_t slot = 0; slot < sizes_.size(); ++slot) {
    if (offsets_[slot] >= 0) at[slot] = memory + offsets_[slot] * items;
  }
  for (size_t i = 0; i < takes_.size(); ++i) {
    // Only read: a plan fills no slot that it takes.
    at[(size_t)takes_[i]] = const_cast<uint8_t*>(in[i]) + first * sizes_[(size_t)takes_[i]];
  }
  for (size_t i = 0; i < gives_.size(); ++i) {
    at[(size_t)gives_[i]] = out[i] + first * sizes_[(size_t)gives_[i]];
  }
  std::vector<const uint8_t*> from;
  auto started = std::chrono::steady_clock::now();
  for (size_t i = 0; i < links_.size(); ++i) {
    const Link& link = links_[i];
    from.clear();
    for (int slot : link.inputs) from.push_back(at[(size_t)slot]);
    for (const Kernel* kernel : link.kernels) {
      if (!kernel->run(from.data(), at[(size_t)link.output], items * factors_[i],
                       sizes_[(size_t)link.output] / factors_[i], threads)) {
        return false;
      }
    }
    const auto ended = std::chrono::steady_clock::now();
    ns[i] += std::chrono::nanoseconds(ended - started).count();
    started = ended;
  }
  return true;
}

bool Plan::run(const std::vector<const uint8_t*>& in, const std::vector<uint8_t*>& out,
               int64_t items, int threads, int64_t* ns) const {
  if (items == 0) return true;
  if (work_ * items < kWorthAThread) threads = 1;
  const int64_t fits = std::max<int64_t>(1, kGroupBytes / std::max<int64_t>(1, arena_bytes_));
  if (items < threads) {  // threads share each layer
    return run_group(in, out, 0, items, threads, ns);
  }
  const int64_t group = std::min(fits, (items + threads - 1) / threads);
  const int64_t groups = (items + group - 1) / group;
  const int64_t workers = std::min<int64_t>(threads, groups);
  std::mutex adding;
  std::atomic<bool> defined{true};
  auto task = [&](int64_t i, Scratch&) {
    std::vector<int64_t> own(links_.size(), 0);
    if (!run_group(in, out, i * group, std::min(group, items - i * group), 1, own.data())) {
      defined = false;
    }
    std::lock_guard<std::mutex> hold(adding);
    for (size_t k = 0; k < own.size(); ++k) ns[k] += (own[k] + workers - 1) / workers;
  };
  parallel_for((int)workers, groups, task);
  return defined;
}

}  // namespace edgefarm
