// A plan: prepared kernels that feed each other, run as one call over any number of items.
//
// An item is one step of the graph. Tensors between the kernels lie in an arena that each thread
// reuses, an item or a few at a time, so that they stay in the second-level cache.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace edgefarm {

// A prepared op. Sizes are bytes of one item; 0 stands for any, the same for inputs and output.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual int inputs() const { return 1; }
  virtual int64_t in_size() const { return 0; }
  virtual int64_t out_size() const { return 0; }
  virtual std::optional<bool> input_unsigned() const { return std::nullopt; }  // none: any
  virtual bool output_unsigned() const = 0;
  virtual int64_t work(int64_t out_size) const = 0;  // about as many bytes moved or products
  // `size`: bytes of one item of the output.
  virtual void run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t size,
                   int threads) const = 0;
};

// One node of a plan: kernels that fill one output together, each its part.
struct Link {
  std::vector<const Kernel*> kernels;
  std::vector<int> inputs;  // slots
  int output = 0;           // slot
};

class Plan {
 public:
  // Throws std::invalid_argument where the links do not fit together.
  //
  // sizes: bytes of one item in each slot. takes, gives: slots that the caller holds; the others
  // are in the arena.
  Plan(std::vector<Link> links, std::vector<int64_t> sizes, std::vector<int> takes,
       std::vector<int> gives);

  // Adds the nanoseconds of each link to `ns`, which has as many entries as there are links. The
  // arrays hold `items` items of their slot each.
  void run(const std::vector<const uint8_t*>& in, const std::vector<uint8_t*>& out, int64_t items,
           int threads, int64_t* ns) const;

  const std::vector<Link>& links() const { return links_; }
  const std::vector<int64_t>& sizes() const { return sizes_; }
  const std::vector<int>& takes() const { return takes_; }
  const std::vector<int>& gives() const { return gives_; }
  int64_t arena_bytes() const { return arena_bytes_; }  // of one item
  std::optional<bool> is_unsigned(int slot) const;      // none: nobody asks

 private:
  void check() const;
  void place();
  void run_group(const std::vector<const uint8_t*>& in, const std::vector<uint8_t*>& out,
                 int64_t first, int64_t items, int threads, int64_t* ns) const;

  std::vector<Link> links_;
  std::vector<int64_t> sizes_;
  std::vector<int> takes_, gives_;
  std::vector<int64_t> offsets_;  // of each slot in the arena of one item; -1 for the caller's
  int64_t arena_bytes_ = 0;
  int64_t work_ = 0;  // of one item
};

}  // namespace edgefarm
