"""`python -m bytebill.data`, after editing a table: renew its checksum, and say what is wrong."""

from bytebill import data

if __name__ == "__main__":
    data.rehash()
    print("\n".join(data.validate()) or "data: no problems")
