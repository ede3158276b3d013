// An intrusive doubly linked list. A node leaves its list when it is destroyed, so that destroying a coroutine frame
// that waits somewhere is all it takes to cancel it. Single-threaded.
#pragma once

#include <cstddef>

namespace tulle {

class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (!next_) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = prev_ = nullptr;
  }

 private:
  template <class T>
  friend class List;
  ListNode* prev_ = nullptr;
  ListNode* next_ = nullptr;
};

// A list of T, which derives from ListNode. Owns nothing; nodes still in it at its end are unlinked.
template <class T>
class List {
 public:
  List() { head_.prev_ = head_.next_ = &head_; }
  ~List() {
    while (!empty()) head_.next_->unlink();
    head_.prev_ = head_.next_ = nullptr;
  }
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  bool empty() const { return head_.next_ == &head_; }
  T& front() { return *static_cast<T*>(head_.next_); }
  void push_back(T& node) { insert_before(head_, node); }
  void push_front(T& node) { insert_before(*head_.next_, node); }
  T* pop_front() {
    if (empty()) return nullptr;
    T* node = &front();
    static_cast<ListNode*>(node)->unlink();
    return node;
  }
  // Moves all nodes of `other` to the end of this list.
  void splice(List& other) {
    if (other.empty()) return;
    ListNode* first = other.head_.next_;
    ListNode* last = other.head_.prev_;
    other.head_.prev_ = other.head_.next_ = &other.head_;
    first->prev_ = head_.prev_;
    head_.prev_->next_ = first;
    last->next_ = &head_;
    head_.prev_ = last;
  }
  // Calls f(T&) for each; f may unlink the node it is given and no other.
  template <class F>
  void for_each(F&& f) {
    for (ListNode* n = head_.next_; n != &head_;) {
      ListNode* next = n->next_;
      f(*static_cast<T*>(n));
      n = next;
    }
  }

 private:
  void insert_before(ListNode& at, ListNode& node) {
    node.unlink();
    node.prev_ = at.prev_;
    node.next_ = &at;
    at.prev_->next_ = &node;
    at.prev_ = &node;
  }
  ListNode head_;
};

}  // namespace tulle
