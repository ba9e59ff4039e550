// A plan: prepared kernels that feed each other, run as one call over any number of items.
//
// An item is one step of the graph. Tensors between the kernels lie in an arena that each thread
// reuses, an item or a few at a time, so that they stay in the second-level cache.
#pragma once

#include <cstdint>
#include <vector>

namespace edgefarm {

// Of the elements of an array; kAny of an input that takes each that fits.
enum class Type { kAny, kInt8, kUint8, kInt16, kInt32, kFloat32 };

inline Type byte_type(bool is_unsigned) { return is_unsigned ? Type::kUint8 : Type::kInt8; }

// A prepared op. Sizes are bytes of one item of the kernel; 0 stands for any, the same for inputs
// and output. A step of the graph may be several items: rows of a matrix, images of a batch.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual int inputs() const { return 1; }
  virtual int64_t in_size(int /*input*/) const { return 0; }
  virtual int64_t out_size() const { return 0; }
  virtual Type input_type() const { return Type::kAny; }
  virtual Type output_type() const = 0;
  virtual int64_t work(int64_t out_size) const = 0;  // about as many bytes moved or products
  // `size`: bytes of one item of the output. False: a value that the op does not define; what the
  // output holds then has no meaning.
  virtual bool run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t size,
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
  // arrays hold `items` items of their slot each. False as of a kernel.
  bool run(const std::vector<const uint8_t*>& in, const std::vector<uint8_t*>& out, int64_t items,
           int threads, int64_t* ns) const;

  const std::vector<Link>& links() const { return links_; }
  const std::vector<int64_t>& sizes() const { return sizes_; }
  const std::vector<int>& takes() const { return takes_; }
  const std::vector<int>& gives() const { return gives_; }
  int64_t arena_bytes() const { return arena_bytes_; }  // of one item
  Type type_of(int slot) const;                         // any: nobody asks

 private:
  void check() const;
  void check(const Link& link, const Kernel* kernel) const;
  void place();
  bool run_group(const std::vector<const uint8_t*>& in, const std::vector<uint8_t*>& out,
                 int64_t first, int64_t items, int threads, int64_t* ns) const;

  std::vector<Link> links_;
  std::vector<int64_t> sizes_;
  std::vector<int> takes_, gives_;
  std::vector<int64_t> offsets_;  // of each slot in the arena of one item; -1 for the caller's
  std::vector<int64_t> factors_;  // items of each link's kernels in an item of the plan
  int64_t arena_bytes_ = 0;
  int64_t work_ = 0;  // of one item
};

}  // namespace edgefarm
