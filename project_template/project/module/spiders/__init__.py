# One module a spider, or several spiders in one; `scrapy genspider` makes new ones here.
