"""The only folder that touches Scrapy's private names."""
